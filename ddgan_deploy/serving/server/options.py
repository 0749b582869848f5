"""What to serve and where, as far as it can be checked before the server starts."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from dataclasses import dataclass, field, replace
from pathlib import Path

from ddgan_deploy.errors import InputError
from ddgan_deploy.serving.address import Address

LOCALHOST = "127.0.0.1"
_IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_OWN = (
    *("--model-repository", "--model-store", "--http-port", "--grpc-port", "--metrics-port"),
    *("--http-address", "--allow-http", "--exit-on-error", "--id", "--help", "--version"),
)
"""Options of tritonserver that we must know."""
_MOST_CACHE_MIB = 1 << 20
_CONFIG = "config.pbtxt"
_NESTED = "model_repository"
_PORT = {"help": "0: any that is free (default: {default})", "metavar": "PORT"}


@dataclass(frozen=True)
class ServerOptions:
    """What to serve, and where.

    Attributes:
        repository: a model repository, or an artifact that has one.
        host: address to bind to, or a name of this machine; `checked` options have an address.
        http_port, grpc_port, metrics_port: 1..65535; 0: any that is free.
        cache_mib: size in MiB of the cache, of the server's own and of each of the engine's processes; 0: none.
        extra: further options of tritonserver.
    """

    repository: Path = field(metadata={"help": "a model repository, or an artifact that has one", "metavar": "DIR"})
    host: str = field(
        default=LOCALHOST, metadata={"help": "address to bind to (default: {default}, this machine only)"}
    )
    http_port: int = field(default=8000, metadata=_PORT)
    grpc_port: int = field(default=8001, metadata=_PORT)
    metrics_port: int = field(default=8002, metadata=_PORT)
    cache_mib: int = field(
        default=64,
        metadata={"help": "of the cache, 0 for none (default: {default})", "metavar": "MIB", "flag": "--cache-size"},
    )
    extra: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "further options of tritonserver, after --",
            "metavar": "-- OPTION",
            "flag": "extra",
            "nargs": "*",
            "read": tuple,
        },
    )

    @property
    def http(self) -> str:
        """HOST:PORT of HTTP, as this machine reaches it."""
        return self._netloc("http", self.http_port)

    @property
    def grpc(self) -> str:
        """HOST:PORT of gRPC."""
        return self._netloc("grpc", self.grpc_port)

    @property
    def metrics(self) -> str:
        """HOST:PORT of Prometheus metrics."""
        return self._netloc("metrics", self.metrics_port)

    def allows(self, way: str) -> bool:
        """Whether it serves ``grpc`` or ``metrics``, which a further option may turn off."""
        return self._said(f"--allow-{way}").lower() not in ("false", "0")

    def _netloc(self, way: str, port: int) -> str:
        said = self._said(f"--{way}-address").removeprefix("ipv6:").strip("[]")
        host = said or self.host
        return Address("http", {"0.0.0.0": LOCALHOST, "::": "::1"}.get(host, host), port).netloc

    def _said(self, name: str) -> str:
        """What the further options say last of one, as ``NAME=VALUE`` or as two; "" where nothing."""
        said = ""
        for option, following in zip(self.extra, (*self.extra, "")[1:], strict=True):
            given, separator, value = option.partition("=")
            if given == name:
                said = value if separator else following
        return said


def checked(options: ServerOptions) -> ServerOptions:
    """The options with the repository itself, the host's address, and every port known and free.

    Raises:
        InputError: there is no repository, a host or port cannot be used, or an option is ours to give.
    """
    for option in options.extra:
        if option.split("=")[0] in _OWN:
            raise InputError(f"{option} is not passed on: ddgan-serve itself says that, or needs it as it is")
    if not 0 <= options.cache_mib <= _MOST_CACHE_MIB:
        raise InputError(f"--cache-size {options.cache_mib} is out of range: give 0..{_MOST_CACHE_MIB} MiB")
    if not options.host:
        raise InputError(f"--host is empty, which would be every address of this machine: give one such as {LOCALHOST}")
    repository, host = check_repository(options.repository), local_address(options.host)
    return _with_ports(replace(options, repository=repository, host=host))


def local_address(host: str) -> str:
    """The address of this machine that a host stands for: of several that a name has the first, IPv4 before IPv6.

    The server's HTTP takes addresses alone: given anything else it listens on one that nobody reaches, or on all.

    Raises:
        InputError: it stands for none.
    """
    try:
        found = socket.getaddrinfo(host.removeprefix("[").removesuffix("]"), None, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        found = []
    addresses = [ipaddress.ip_address(str(entry[4][0])) for entry in found]
    for address in sorted((_unmapped(address) for address in addresses), key=lambda address: address.version):
        if address.version == 6 and address.is_link_local:
            raise InputError(
                f"--host {host} is good on one interface alone, which the server cannot be told: give another"
            )
        if _is_local(address):
            return str(address)
    raise InputError(f"--host {host} is no address of this machine: give one such as {LOCALHOST}")


def _unmapped(address: _IpAddress) -> _IpAddress:
    """The IPv4 address that an IPv6 address has in it, else itself."""
    return getattr(address, "ipv4_mapped", None) or address


def _is_local(address: _IpAddress) -> bool:
    # Bound to these two, a server starts and is never reached.
    if address.is_multicast or address == ipaddress.IPv4Address("255.255.255.255"):
        return False
    try:
        with socket.socket(_family(str(address))) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def check_repository(folder: Path) -> Path:
    """The model repository itself, where an artifact's folder is given too.

    Raises:
        InputError: there is none.
    """
    if not folder.exists():
        raise InputError(f"{folder} does not exist: give a model repository, or an artifact that ddgan-export wrote")
    nested = folder / _NESTED
    repository = nested if nested.is_dir() else folder
    if not model_folders(repository):
        raise InputError(
            f"{folder} is no model repository, since no folder in it has a {_CONFIG}: "
            f"give the {_NESTED} of an artifact that ddgan-export wrote"
        )
    return repository.resolve()


def model_folders(repository: Path) -> list[Path]:
    """The folders of a repository's models."""
    if not repository.is_dir():
        return []
    return sorted(path.parent for path in repository.glob(f"*/{_CONFIG}"))


def _with_ports(options: ServerOptions) -> ServerOptions:
    """The options with every port known and free."""
    with contextlib.ExitStack() as held:
        http, grpc, metrics = (_free_port(options, name, held) for name in ("http_port", "grpc_port", "metrics_port"))
    return replace(options, http_port=http, grpc_port=grpc, metrics_port=metrics)


def _free_port(options: ServerOptions, name: str, held: contextlib.ExitStack) -> int:
    port, flag = getattr(options, name), f"--{name.replace('_', '-')}"
    if not 0 <= port <= 65535:
        raise InputError(f"{flag} {port} is no port: give 1..65535, or 0 for any that is free")
    listener = held.enter_context(socket.socket(_family(options.host)))
    # As servers do, so that connections of an earlier server that are still being closed do not count.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((options.host, port))
        # Else a second port of ours could be the same.
        listener.listen()
    except OSError as error:
        raise InputError(
            f"port {port} of {options.host} cannot be used ({error.strerror}): give another {flag}, or end what uses it"
        ) from None
    return int(listener.getsockname()[1])
