"""Asks a server for an image that nobody has asked for: alive.py URL, for liveness probes; exit code 0 or 1.

The health endpoints say 200 where the process that draws has died, or a GPU has failed, and answers from the response
cache still arrive: only a new seed shows it. A server that is merely busy is alive.

It stands alone, on Python's standard library, for it runs every half minute in every pod.
"""

from __future__ import annotations

import http.client
import json
import secrets
import sys
import urllib.error
import urllib.request

TIMEOUT = 15.0
"""Seconds to wait for the image; the probe's own time-out is longer."""
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks the server itself, whatever proxy the pod's environment names for other addresses."""


def alive(url: str, timeout: float = TIMEOUT) -> bool:
    """Whether a server runs and can draw.

    Args:
        url: of its HTTP port, such as http://127.0.0.1:8000.
        timeout: seconds for each request.

    Returns:
        False where it is not live, or fails at an image by its own fault (500). True for an image, and also for a
        refusal (a full queue) and for silence, which a long queue explains.
    """
    seed = {"name": "seed", "shape": [1, 1], "datatype": "INT64", "data": [secrets.randbits(62)]}
    # The PNG file passes through every process that the server has started.
    question = json.dumps({"inputs": [seed], "outputs": [{"name": "png", "parameters": {"binary_data": True}}]})
    if _status(f"{url}/v2/health/live", None, timeout) != 200:
        return False
    answer = _status(f"{url}/v2/models/ddgan_png/infer", question.encode(), timeout)
    if answer == 400:
        # In a repository of before, this model takes no seeds.
        answer = _status(f"{url}/v2/models/ddgan/infer", question.encode(), timeout)
    return answer != 500


def _status(url: str, body: bytes | None, timeout: float) -> int | None:
    try:
        with _DIRECT.open(url, body, timeout) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, http.client.HTTPException):
        return None


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: alive.py http://HOST:PORT")
    sys.exit(not alive(sys.argv[1]))
