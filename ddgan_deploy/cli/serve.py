"""ddgan-serve: an artifact's model repository in Triton Inference Server."""

from __future__ import annotations

import http.client
import json
import shlex
import signal
import sys
import urllib.request
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ddgan_deploy.cli.arguments import add_arguments, given
from ddgan_deploy.cli.knobs import asked_for
from ddgan_deploy.command import Parser, run
from ddgan_deploy.screen import note, say
from ddgan_deploy.serving import MODEL
from ddgan_deploy.serving.knobs import knobs_of
from ddgan_deploy.serving.server.options import ServerOptions

if TYPE_CHECKING:
    from ddgan_deploy.sampler import Knob

_TIMEOUT = 10.0
"""Seconds for an answer that needs no work."""


def main(argv: Sequence[str] | None = None) -> int:
    """The console script."""
    return run(_main, argv)


def _main(argv: Sequence[str] | None) -> int:
    options = _options(argv)
    from ddgan_deploy.serving.server.supervise import Supervisor

    supervisor = Supervisor(options, _log, _print_addresses)
    # From here on the server decides when it ends.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, supervisor.forward)
    return supervisor.run()


def _log(line: str) -> None:
    note(line.rstrip("\n"))


def _print_addresses(options: ServerOptions) -> None:
    say(f"ready: {options.repository}")
    say(f"  HTTP     http://{options.http}")
    if options.allows("grpc"):
        say(f"  gRPC     grpc://{options.grpc}")
    if options.allows("metrics"):
        say(f"  metrics  http://{options.metrics}/metrics")
    needed = asked_for(_knobs(options))
    say(f"try: ddgan-sample --url {shlex.quote(f'http://{options.http}')} --seeds 0-15{needed} --out grid.png")
    if not needed:
        say(f"     {curl_line(options)}")


def _knobs(options: ServerOptions) -> tuple[Knob, ...]:
    """Of the model that draws; none where it cannot be asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{options.http}/v2/models/{MODEL}/config", timeout=_TIMEOUT) as answer:
            return knobs_of(json.load(answer))
    except (OSError, http.client.HTTPException, ValueError):
        return ()


def curl_line(options: ServerOptions) -> str:
    """A command that shows the pixels of seed 3 as JSON."""
    from ddgan_deploy.inputs import seed_array
    from ddgan_deploy.serving import curl

    return curl.line(f"http://{options.http}", curl.request(seed_array([3]), {}))


def _options(argv: Sequence[str] | None) -> ServerOptions:
    parser = Parser(
        prog="ddgan-serve",
        description="Serves a model repository with Triton Inference Server: the one on PATH, else the one that "
        "`python -m ddgan_deploy.serving.fetch` unpacked.",
    )
    add_arguments(parser, ServerOptions)
    return ServerOptions(**given(parser.parse_args(argv), ServerOptions))


if __name__ == "__main__":
    sys.exit(main())
