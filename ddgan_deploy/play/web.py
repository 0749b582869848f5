"""The page's own small web server."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator

from ddgan_deploy.command import DONE
from ddgan_deploy.errors import InputError, NotInstalled
from ddgan_deploy.play.source import Source
from ddgan_deploy.scratch import scratch_folder

_QUIET = {
    # What Gradio and what it is built on would ask and tell their makers, and keep.
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SSR_MODE": "False",
    "GRADIO_MCP_SERVER": "False",
}
_GRADIO = 6
"""The least version."""
_PATIENCE = 1
"""Seconds that open pages, which hold their connections, have at the end."""


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        InputError: the host is none of this machine's, or the port is taken.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise InputError(f"--host {host!r} is unknown ({error.strerror or error}): give 127.0.0.1") from None
    try:
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise InputError(
            f"--host {host} --port {port} cannot be listened at ({reason}): give another port, or 0 for a free one"
        ) from None


def address_of(listening: socket.socket) -> str:
    """The url of what listens."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def quiet_gradio() -> Iterator[None]:
    """Around all that imports or runs Gradio: it tells nobody, and leaves no files."""
    with scratch_folder("ddgan-play-") as folder:
        os.environ.update(_QUIET)
        os.environ["GRADIO_TEMP_DIR"] = str(folder)
        yield


def serve(source: Source, listening: socket.socket, ready: Callable[[str], None]) -> None:
    """Serves the page until Ctrl-C or a signal ends it.

    Args:
        source: what it draws with.
        listening: where; is closed at the end.
        ready: is told the url, when it answers.

    Raises:
        NotInstalled: Gradio is not there, or one of before.
    """
    try:
        import uvicorn
        from fastapi import FastAPI, HTTPException, Response

        from ddgan_deploy.play import page
        from ddgan_deploy.play.files import Shelf
        from ddgan_deploy.play.visitors import OwnPageAlone

        page.check_version(_GRADIO)
    except ImportError as error:
        raise not_installed(error) from None

    app, shelf = FastAPI(openapi_url=None), Shelf()

    def file(folder: str, name: str) -> Response:
        content = shelf.content(folder, name)
        if content is None:
            raise HTTPException(404, "These images are gone: draw them again.")
        return Response(content, media_type="application/octet-stream")

    app.add_api_route(f"/{page.FILES}/{{folder}}/{{name}}", file, response_model=None)
    page.mount(app, source, shelf)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                ready(address_of(listening))

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # What the end cuts off is no error, but Gradio prints its traceback.
            end.enter_context(contextlib.redirect_stderr(io.StringIO()))
            await super().shutdown(sockets)

    config = uvicorn.Config(OwnPageAlone(app), log_level="warning", timeout_graceful_shutdown=_PATIENCE, lifespan="on")
    server = Server(config)
    logging.getLogger("uvicorn.error").addFilter(lambda _: not server.should_exit)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, server.handle_exit)
    # Uvicorn ends by itself, and then hands the signal on.
    with listening, contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as end:
        server.run(sockets=[listening])


def end_if_busy() -> None:
    """Ends the process where images are still being drawn: that cannot be stopped, and nobody waits for them."""
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        os._exit(DONE)


def not_installed(error: ImportError | None = None) -> NotInstalled:
    """What is said where Gradio is not there, or one of before."""
    missing = f" ({error})" if error else ""
    return NotInstalled(f'ddgan-play needs Gradio {_GRADIO}{missing}: pip install "ddgan-deploy[play]"')
