"""ddgan-play: a local page to play with an artifact, or with a server that serves one."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ddgan_deploy.cli.arguments import add_engine_arguments, check_source
from ddgan_deploy.command import Parser, run
from ddgan_deploy.errors import InputError
from ddgan_deploy.screen import StepList, say

if TYPE_CHECKING:
    from ddgan_deploy.play.source import Source

LOCALHOST, PORT = "127.0.0.1", 7860


def main(argv: Sequence[str] | None = None) -> int:
    """The console script."""
    return run(_main, argv)


def _main(argv: Sequence[str] | None) -> None:
    args = _options(argv)
    from ddgan_deploy.play import web

    if importlib.util.find_spec("gradio") is None:
        raise web.not_installed()
    with web.bound(args.host, args.port) as listening, _source(args) as source:
        with web.quiet_gradio():
            web.serve(source, listening, lambda url: say(f"ready: {url}"))
        web.end_if_busy()


@contextlib.contextmanager
def _source(args: argparse.Namespace) -> Iterator[Source]:
    if args.url is not None:
        from ddgan_deploy.play.source import BATCH, server_source
        from ddgan_deploy.serving.client import Client

        timeout = 60.0 if args.timeout is None else args.timeout
        with Client(args.url, timeout, batch=BATCH) as client:
            yield server_source(client)
        return
    from ddgan_deploy.engines import open_artifact
    from ddgan_deploy.play.source import ArtifactSource

    with StepList()("Open the artifact"):
        engine = open_artifact(args.artifact, args.engine, args.threads)
    with engine:
        yield ArtifactSource(engine, args.threads)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    args = _parser().parse_args(argv)
    check_source(args)
    if not 0 <= args.port <= 65535:
        raise InputError(f"--port {args.port} is out of range: give 1..65535, or 0 for a free one")
    return args


def _parser() -> Parser:
    parser = Parser(prog="ddgan-play", description="A local page to play with an artifact, or with a server.")
    parser.add_argument("artifact", nargs="?", type=Path, metavar="DIR", help="folder that ddgan-export wrote")
    parser.add_argument("--url", help="instead of DIR: a server, as http://HOST:PORT, grpc://HOST:PORT or HOST:PORT")
    parser.add_argument(
        "--host", default=LOCALHOST, help="address to listen at (default: %(default)s, this machine only)"
    )
    parser.add_argument("--port", type=int, default=PORT, help="0: any that is free (default: %(default)s)")
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="without an answer of the server (default: 60)"
    )
    add_engine_arguments(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
