"""Many checked answers in one run: none wrong, none lost, and memory that stays flat.

    python benchmarks/soak.py [DIR] [--answers 1000000] [--fresh N] [--clients 6] [--seeds 4096] [--url URL ...]
                              [--json FILE]

Serves an artifact (by default a tiny one, 16x16 from random weights with T = 1, made first) with ddgan-serve, once
with its cache and once, for --fresh answers (half of all unless given), without. Clients, each a process of its own,
ask for batches of any size out of a finite set of seeds: by our client over gRPC and HTTP, pixels and now and then
PNG files, and by tritonclient alone, which checks nothing itself. Every image is compared, byte by byte, with the one
that the bare engine had drawn before. A request that fails is asked again until it is answered; one that never is
counts as lost. The memory of ddgan-serve, the server and its processes is looked at every second; of the last three
quarters of a part, the last third must not need more than the first. With --url, twice for both protocols, a running
server of DIR is asked, and no memory looked at. Prints JSON and a line; the exit code is 1 where anything is wrong,
lost or grows.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import io
import itertools
import json
import multiprocessing
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

MAX_BATCH = 64
"""Of the tiny artifact."""
WAYS = ("our client over gRPC", "our client over HTTP", "tritonclient over gRPC")
PNG_EVERY = 16
"""Requests of our clients, of which one is for PNG files."""
STEP = 64
"""Seeds that the engine draws at a time."""
TRIES = 200
PAUSE = 0.25
"""Seconds before a request is sent again."""
COUNTS = ("answers", "requests", "wrong", "lost", "retried")
GROWTH = 1.02
ROOM_MIB = 3.0
"""By how much a process may differ from itself: a share, and beside it what an allocator keeps."""
TINY = {
    "image_size": 16, "num_channels": 1, "num_channels_dae": 8, "ch_mult": (1, 1), "num_res_blocks": 1,
    "attn_resolutions": (8,), "nz": 8, "z_emb_dim": 16, "n_mlp": 1,
}  # fmt: skip

Ask = Callable[[list[int]], npt.NDArray[np.uint8]]


def tiny_artifact(folder: Path) -> Path:
    """An artifact that draws fast."""
    sys.path.insert(0, str(Path(__file__).parent))
    from ddgan_deploy.artifact.serving import Serving
    from ddgan_deploy.export import ExportOptions, export
    from export import SIZES, random_checkpoint

    SIZES["tiny"] = {"steps": 1, "config": TINY}
    random_checkpoint("tiny", folder / "tiny.pth")
    config = folder / "tiny.json"
    config.write_text(json.dumps(TINY))
    options = ExportOptions(
        folder / "tiny.pth",
        1,
        config,
        out=folder / "tiny",
        engine="none",
        verify=False,
        serving=Serving(max_batch=MAX_BATCH),
    )
    return export(options).artifact.path


def largest_batch(artifact: Path) -> int:
    """Of what is served."""
    config = artifact / "model_repository" / "ddgan" / "config.pbtxt"
    (found,) = re.findall(r"max_batch_size: (\d+)", config.read_text())
    return int(found)


def expected_images(artifact: Path, count: int) -> npt.NDArray[np.uint8]:
    """Images [N, H, W, C] of the seeds 0..N-1 by the engine itself."""
    from ddgan_deploy import open_artifact

    with open_artifact(artifact) as engine:
        return np.concatenate(
            [engine.generate(range(start, min(start + STEP, count))) for start in range(0, count, STEP)]
        )


@contextlib.contextmanager
def served(artifact: Path, cache_mib: int) -> Iterator[tuple[dict[str, str], int]]:
    """ddgan-serve as a process of its own: its URLs, and its process id."""
    command = [sys.executable, "-m", "ddgan_deploy.cli.serve", "--repository", str(artifact)]
    command += [f"--cache-size={cache_mib}", "--http-port=0", "--grpc-port=0", "--metrics-port=0"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout
        said = "".join(itertools.takewhile(lambda line: not line.startswith("try:"), process.stdout))
        urls = {name.lower(): f"{name.lower()}://{at}" for name, at in re.findall(r"(HTTP|gRPC) +\w+://(\S+)", said)}
        try:
            if len(urls) != 2:
                process.wait()
                log.seek(0)
                raise SystemExit(f"ddgan-serve did not start: {log.read()}")
            yield urls, process.pid
        finally:
            process.terminate()
            process.wait()


def client(number: int, urls: Sequence[str], expected: Path, batch: int, counts: Sequence[int], stop: object) -> None:
    """One client process, of requests up to a batch; ``counts`` are its own row of `COUNTS`."""
    images = np.load(expected, mmap_mode="r")
    random = np.random.default_rng(number)
    ways = list(_ways(number, urls))
    for turn in itertools.count():
        if stop.is_set():
            return
        seeds = random.integers(0, len(images), random.integers(1, batch + 1)).tolist()
        ask = ways[0] if turn % PNG_EVERY else ways[-1]
        answer = _answer(ask, seeds, counts)
        if answer is None:
            counts[COUNTS.index("lost")] += len(seeds)
            continue
        right = len(answer) == len(seeds) and answer.dtype == np.uint8
        wrong = sum(not np.array_equal(image, images[seed]) for image, seed in zip(answer, seeds, strict=right))
        counts[COUNTS.index("wrong")] += wrong if right else len(seeds)
        counts[COUNTS.index("answers")] += len(seeds)
        counts[COUNTS.index("requests")] += 1


def _answer(ask: Ask, seeds: list[int], counts: Sequence[int]) -> npt.NDArray[np.uint8] | None:
    from tritonclient.utils import InferenceServerException

    from ddgan_deploy.errors import GateError

    for _ in range(TRIES):
        try:
            return ask(seeds)
        except (GateError, InferenceServerException, OSError):
            counts[COUNTS.index("retried")] += 1
            time.sleep(PAUSE)
    return None


def _ways(number: int, urls: Sequence[str]) -> Iterator[Ask]:
    """How a client asks: for pixels, and for PNG files where it does."""
    from PIL import Image

    from ddgan_deploy.serving.client import Client

    way = WAYS[number % len(WAYS)]
    # Of one protocol alone, where no more is given.
    (url,) = [url for url in urls if url.startswith("http" if "HTTP" in way else "grpc")][:1] or urls[:1]
    if way.startswith("tritonclient") and url.startswith("grpc"):
        yield _plain(url.partition("://")[2])
        return
    # Retries are counted here.
    ours = Client(url, retries=0)
    yield ours.generate

    def pictures(seeds: list[int]) -> npt.NDArray[np.uint8]:
        files = [np.asarray(Image.open(io.BytesIO(file))) for file in ours.png(seeds)]
        return np.stack(files).reshape(len(seeds), *files[0].shape[:2], -1)

    yield pictures


def _plain(address: str) -> Ask:
    from tritonclient import grpc

    connection, wanted = grpc.InferenceServerClient(address), [grpc.InferRequestedOutput("image")]

    def ask(seeds: list[int]) -> npt.NDArray[np.uint8]:
        tensor = grpc.InferInput("seed", [len(seeds), 1], "INT64").set_data_from_numpy(np.array(seeds)[:, None])
        answer = connection.infer("ddgan", [tensor], outputs=wanted, client_timeout=60).as_numpy("image")
        if answer is None:
            raise OSError("an answer without an image")
        return answer

    return ask


def resident_mib(root: int) -> dict[str, float]:
    """Memory of a process and of all that it has started, by what they are."""
    children, names, sizes = defaultdict(list), {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            pid, command = int(path.name), (path / "cmdline").read_bytes().decode(errors="replace")
            children[int((path / "stat").read_text().rpartition(")")[2].split()[1])].append(pid)
            sizes[pid] = int((path / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
            model = re.search(r"/(\w+)/1/model\.py", command)
            names[pid] = f"process of {model[1]}" if model else "server" if "tritonserver" in command else "ddgan-serve"
    found, ahead = {}, [root]
    while ahead:
        pid = ahead.pop()
        if pid in sizes:
            found[names[pid]] = sizes[pid]
        ahead += children[pid]
    return found


def memory(samples: Sequence[dict[str, float]]) -> dict[str, dict[str, float | bool]]:
    """What each process took at first and at last, once it had warmed up, in MiB, and whether that is flat."""
    warm = samples[len(samples) // 4 :]
    third = max(1, len(warm) // 3)
    found = {}
    for name in sorted({name for sample in warm for name in sample}):
        first, last = ([s[name] for s in part if name in s] for part in (warm[:third], warm[-third:]))
        if first and last:
            a, b = statistics.median(first), statistics.median(last)
            found[name] = {"first_mib": round(a, 1), "last_mib": round(b, 1), "flat": b <= a * GROWTH + ROOM_MIB}
    return found


def part(
    title: str, urls: Sequence[str], expected: Path, batch: int, answers: int, clients: int, pid: int | None
) -> dict:
    """One server's part of the answers."""
    context = multiprocessing.get_context("spawn")
    rows = [context.Array(ctypes.c_longlong, len(COUNTS), lock=False) for _ in range(clients)]
    stop, samples, start = context.Event(), [], time.monotonic()
    processes = [context.Process(target=client, args=(n, urls, expected, batch, rows[n], stop)) for n in range(clients)]
    for process in processes:
        process.start()
    for second in itertools.count():
        done = sum(row[0] for row in rows) + sum(row[COUNTS.index("lost")] for row in rows)
        if done >= answers or not all(process.is_alive() for process in processes):
            break
        if second % 10 == 0:
            print(f"  {title}: {done} of {answers} after {time.monotonic() - start:.0f} s", file=sys.stderr)
        if pid is not None and done:
            samples.append(resident_mib(pid))
        time.sleep(1)
    stop.set()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit(f"{title}: a client ended with an error of its own")
    counts = {name: sum(row[place] for row in rows) for place, name in enumerate(COUNTS)}
    seconds = time.monotonic() - start
    rate = {"seconds": round(seconds, 1), "answers_per_s": round(counts["answers"] / seconds, 1)}
    return {"what": title, **counts, **rate, "memory": memory(samples)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("artifact", nargs="?", type=Path, metavar="DIR")
    parser.add_argument("--answers", type=int, default=1_000_000, help="images of all requests together")
    parser.add_argument("--fresh", type=int, help="of them, those that are drawn anew (default: half)")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=4096)
    parser.add_argument("--url", action="append", help="http://HOST:PORT or grpc://HOST:PORT of a server of DIR")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.url and not args.artifact:
        parser.error("--url wants DIR, the artifact that is served there")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        artifact = args.artifact or tiny_artifact(folder)
        expected, batch = folder / "expected.npy", largest_batch(artifact)
        np.save(expected, expected_images(artifact, args.seeds))
        if args.url:
            parts = [part("a running server", args.url, expected, batch, args.answers, args.clients, None)]
        else:
            parts = []
            fresh = args.answers // 2 if args.fresh is None else args.fresh
            for title, cache_mib, answers in (
                ("with the cache", 64, args.answers - fresh),
                ("without a cache", 0, fresh),
            ):
                with served(artifact, cache_mib) as (urls, pid):
                    where = list(urls.values())
                    parts.append(part(title, where, expected, batch, answers, args.clients, pid))
    total = {name: sum(each[name] for each in parts) for name in COUNTS}
    flat = all(process["flat"] for each in parts for process in each["memory"].values())
    environment = {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}
    result = {**total, "flat": flat, "seeds": args.seeds, "clients": args.clients, "parts": parts}
    text = json.dumps({**result, "environment": environment}, indent=2)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")
    said = ", ".join(f"{total[name]} {name}" for name in COUNTS)
    print(f"{said}; memory {'is flat' if flat else 'grows'}" if not args.url else said)
    sys.exit(bool(total["wrong"] or total["lost"] or not flat))


if __name__ == "__main__":
    main()
