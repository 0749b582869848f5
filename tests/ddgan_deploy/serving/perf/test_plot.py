"""The picture says what it is of."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from ddgan_deploy.serving.perf.analyzer import Client
from ddgan_deploy.serving.perf.plot import plot, title
from ddgan_deploy.serving.perf.result import Level, PerfResult


def test_it_names_the_model_the_server_and_its_addresses(tmp_path: Path) -> None:
    client = Client(**dict.fromkeys(Client.__dataclass_fields__, 1))
    result = PerfResult(
        server="triton 2.51.0",
        urls={"grpc": "127.0.0.1:8001", "http": "[::1]:8000"},
        model=r"faces $\x$",
        statistics_of="faces",
        seconds=5.0,
        seeds=10,
        first_seed=0,
        knobs={},
        levels=(Level("grpc", 1, client, None), Level("http", 1, client, None)),
    )
    named = r"faces $\x$ on triton 2.51.0 at gRPC 127.0.0.1:8001, HTTP [::1]:8000"
    assert title(result) == (named, "5 s a level, every request with its own seed")
    plot(result, tmp_path / "perf.png")
    with Image.open(tmp_path / "perf.png") as picture:
        assert picture.info["Title"] == named and picture.width > 1000
