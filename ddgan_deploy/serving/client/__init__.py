"""Ask a running server for images: seeds in, pixels or PNG files out, over gRPC or HTTP."""

from __future__ import annotations

from ddgan_deploy.serving.client.asynchronous import IN_FLIGHT, AsyncClient, ServerError
from ddgan_deploy.serving.client.blocking import Client

__all__ = ["IN_FLIGHT", "AsyncClient", "Client", "ServerError"]
