"""Where a server listens, and what it speaks there."""

from __future__ import annotations

import http.client
import ipaddress
import re
import urllib.parse
from dataclasses import dataclass
from typing import Literal

from ddgan_deploy.errors import InputError

Protocol = Literal["grpc", "http"]

PROBE_SECONDS = 2.0
"""How long a port may take to show what it speaks."""
_SCHEMES: dict[str, tuple[Protocol, bool]] = {
    "http": ("http", False),
    "https": ("http", True),
    "grpc": ("grpc", False),
    "grpcs": ("grpc", True),
}
_FORMS = "give http://HOST:PORT or grpc://HOST:PORT (https, grpcs with TLS), or HOST:PORT alone"
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_.])?")


@dataclass(frozen=True)
class Address:
    """A port of a server.

    Attributes:
        protocol: what it speaks.
        host: a name, an IPv4 or an IPv6 address, the last without brackets.
        port: 1..65535.
        tls: whether the connection is encrypted.
    """

    protocol: Protocol
    host: str
    port: int
    tls: bool = False

    @property
    def netloc(self) -> str:
        """``HOST:PORT``, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.protocol}{'s' if self.tls else ''}://{self.netloc}"


def parse_url(text: str) -> Address:
    """The address that a text names.

    A text without ``http://``, ``https://``, ``grpc://`` or ``grpcs://`` costs a connection: the port is asked
    what it speaks, for at most `PROBE_SECONDS` a step.

    Raises:
        InputError: the text is no such address, or it names no protocol and the port does not tell.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        host, port = _host_and_port(text, text)
        return Address(_spoken(host, port), host, port)
    if scheme.lower() not in _SCHEMES:
        raise InputError(f"url {text!r} begins with {scheme}://, which is unknown: {_FORMS}")
    protocol, tls = _SCHEMES[scheme.lower()]
    return Address(protocol, *_host_and_port(rest.removesuffix("/"), text), tls)


def _host_and_port(netloc: str, text: str) -> tuple[str, int]:
    """The two that the netloc of the text consists of."""
    wrong = InputError(f"url {text!r} is not a host and a port: {_FORMS}")
    try:
        parts = urllib.parse.urlsplit(f"//{netloc}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise wrong from None
    # The parser also takes a path, a password, and line ends within a name: nothing but the two may be there.
    known = _is_host(host, bracketed=netloc.startswith("["))
    if not known or not port or Address("http", host, port).netloc != netloc.lower():
        raise wrong
    return host, port


def _is_host(host: str, bracketed: bool) -> bool:
    if not bracketed:
        return _HOST_NAME.fullmatch(host) is not None
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def _spoken(host: str, port: int) -> Protocol:
    """What an open port speaks: HTTP where it answers HTTP/1.1 with anything, else gRPC, which answers in HTTP/2."""
    address = Address("http", host, port).netloc
    connection = http.client.HTTPConnection(host, port, timeout=PROBE_SECONDS)
    try:
        try:
            connection.connect()
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"nobody answers at {address} ({reason}): start ddgan-serve, or give its port") from None
        try:
            connection.request("GET", "/v2/health/live")
            connection.getresponse()
        except TimeoutError:
            raise InputError(
                f"{address} does not tell what it speaks: give http://{address} or grpc://{address}"
            ) from None
        except (http.client.HTTPException, ConnectionError):
            return "grpc"
        return "http"
    finally:
        connection.close()
