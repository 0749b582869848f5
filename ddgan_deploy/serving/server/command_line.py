"""How Triton Inference Server is called."""

from __future__ import annotations

import secrets

from ddgan_deploy.gpu import has_gpu
from ddgan_deploy.serving.server.options import ServerOptions
from ddgan_deploy.serving.server.tritonserver import TritonServer

EXIT_TIMEOUT = 30
"""Seconds that requests in flight have to end when the server is told to."""
_EXIT_TIMEOUT = "--exit-timeout-secs"
_CLOSED_APIS = "model-repository,shared-memory,trace,logging"
"""What is for operators (NVIDIA's Secure Deployment Considerations); a key that nobody knows closes it."""
MOST_REQUEST_BYTES = 1 << 16
"""Of an HTTP request's content: a request for images needs less, and 2.51 ends at twice as many brackets."""
_SIZE_LIMIT = "--http-max-input-size"
"""Not in every release: 2.51 has none."""


def command_line(server: TritonServer, options: ServerOptions, name: str) -> list[str]:
    """How the server is called; what the user says takes the place of ours.

    Args:
        server: the program.
        options: with every port known.
        name: of this one server: what it tells to who asks, and how the python backend's regions of memory begin.
    """
    key = f"ddgan-admin={secrets.token_hex(16)}"
    ours = [
        *_addresses(options.host),
        "--model-control-mode=none",
        "--disable-auto-complete-config",
        "--strict-readiness=true",
        f"{_EXIT_TIMEOUT}={EXIT_TIMEOUT}",
        f"--backend-config=python,shm-region-prefix-name={name}_",
        f"--http-restricted-api={_CLOSED_APIS}:{key}",
        f"--grpc-restricted-protocol={_CLOSED_APIS}:{key}",
        *([f"{_SIZE_LIMIT}={MOST_REQUEST_BYTES}"] if server.knows(_SIZE_LIMIT) else []),
        *([f"--cache-config=local,size={options.cache_mib << 20}"] if options.cache_mib else []),
        *([] if has_gpu() else ["--allow-gpu-metrics=false"]),
    ]
    said = {_setting(option) for option in options.extra}
    return [
        str(server.command),
        *server.options,
        f"--model-repository={options.repository}",
        f"--http-port={options.http_port}",
        f"--grpc-port={options.grpc_port}",
        f"--metrics-port={options.metrics_port}",
        f"--id={name}",
        *(option for option in ours if _setting(option) not in said),
        *options.extra,
    ]


def exit_timeout(options: ServerOptions) -> int:
    """Seconds that requests in flight have to end, as the user says or we do."""
    said = [option.partition("=")[2] for option in options.extra if _setting(option) == _EXIT_TIMEOUT]
    return int(said[-1]) if said and said[-1].isdecimal() else EXIT_TIMEOUT


def _addresses(host: str) -> list[str]:
    """The options that say where to listen: gRPC has IPv6 addresses in brackets, HTTP and metrics behind a prefix."""
    grpc, http = (f"[{host}]", f"ipv6:{host}") if ":" in host else (host, host)
    return [f"--http-address={http}", f"--grpc-address={grpc}", f"--metrics-address={http}"]


def _setting(option: str) -> str:
    """What an option sets; --backend-config=BACKEND,NAME=VALUE sets one thing of many."""
    name, _, value = option.partition("=")
    return f"{name}={value.partition('=')[0]}" if name == "--backend-config" else name
