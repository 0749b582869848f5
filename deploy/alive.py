"""Asks a server for an image that nobody has asked for: alive.py URL, for liveness probes; exit code 0 or 1.

The health endpoints say 200 where the process that draws has died, or a GPU has failed, and answers from the response
cache still arrive: only a new seed shows it. A server that is merely busy is alive.

It stands alone, on Python's standard library, for it runs every half minute in every pod.
"""

from __future__ import annotations

import http.client
import json
import math
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
    if _ask(f"{url}/v2/health/live", None, timeout)[0] != 200:
        return False
    # The PNG file passes through every process that the server has started.
    answer = _drawn(f"{url}/v2/models/ddgan_png", timeout)
    if answer == 400:
        # In a repository of before, this model takes no seeds.
        answer = _drawn(f"{url}/v2/models/ddgan", timeout)
    return answer != 500


def _drawn(model: str, timeout: float) -> int | None:
    """The status of an answer to a new seed."""
    seed = {"name": "seed", "shape": [1, 1], "datatype": "INT64", "data": [secrets.randbits(62)]}
    wanted = [{"name": "png", "parameters": {"binary_data": True}}]
    question = {"inputs": [seed, *_knobs(model, timeout)], "outputs": wanted}
    return _ask(f"{model}/infer", json.dumps(question).encode(), timeout)[0]


def _knobs(model: str, timeout: float) -> list[dict[str, object]]:
    """The inputs that a request may not leave out, beside the seed, at the least that they may be."""
    status, answer = _ask(f"{model}/config", None, timeout)
    config = json.loads(answer) if status == 200 else {}
    knobs = []
    for tensor in config.get("input", []):
        if tensor["name"] != "seed" and not tensor.get("optional"):
            dims = [int(dim) for dim in tensor["dims"]]
            told = config.get("parameters", {}).get(f"least_{tensor['name']}", {})
            datatype = tensor["data_type"].removeprefix("TYPE_")
            least = float(told.get("string_value", 0))
            data = [least if datatype == "FP32" else int(least)] * math.prod(dims)
            knobs.append({"name": tensor["name"], "shape": [1, *dims], "datatype": datatype, "data": data})
    return knobs


def _ask(url: str, body: bytes | None, timeout: float) -> tuple[int | None, bytes]:
    """Status and content of an answer; None: there is none."""
    try:
        with _DIRECT.open(url, body, timeout) as answer:
            return int(answer.status), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""
    except (OSError, http.client.HTTPException):
        return None, b""


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: alive.py http://HOST:PORT")
    sys.exit(not alive(sys.argv[1]))
