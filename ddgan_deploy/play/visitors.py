"""Who may have the page draw: it itself and programs, but no page of elsewhere in the same browser."""

from __future__ import annotations

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_READS = ("GET", "HEAD")
_OURS = (b"same-origin", b"none")


class OwnPageAlone:
    """Refuses what a browser sends on behalf of another site, such as a form that uploads a picture: status 403.

    A browser says where a request comes from in Sec-Fetch-Site (W3C, Fetch Metadata Request Headers), whatever proxy is
    between; programs do not. What only reads passes, so that links lead here.

    Args:
        app: that answers all else.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] == "http" and scope["method"] not in _READS:
            site = dict(scope["headers"]).get(b"sec-fetch-site")
            if site is not None and site not in _OURS:
                await PlainTextResponse("Pages of other sites cannot draw here.", 403)(scope, receive, send)
                return
        await self._app(scope, receive, send)
