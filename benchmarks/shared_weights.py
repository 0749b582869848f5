"""What several processes that have opened one artifact take together, with and without DDGAN_PREPARED.

    python benchmarks/shared_weights.py DIR [--engines a,b] [--processes 1,2,4] [--threads 1]

Each process draws two images, one alone and then two at once, and waits until all have. Then Linux tells of each its
proportional set size (PSS): a page that several have counts for each with its part, so their sum is what they take.
The folder of prepared graphs is made before.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CHILD = """
import sys
import ddgan_deploy.engines
opened = ddgan_deploy.engines.open_artifact(sys.argv[1], sys.argv[2], int(sys.argv[3]))
opened.generate([0])
opened.generate([1, 2])
print(flush=True)
sys.stdin.read()
"""


def memory_mb(artifact: Path, engine: str, threads: int, count: int) -> float:
    """The PSS of so many processes together, in megabytes."""
    command = [sys.executable, "-c", CHILD, str(artifact), engine, str(threads)]
    children = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for child in children:
            assert child.stdout is not None
            if not child.stdout.readline():
                raise SystemExit(f"{engine} does not run here")
        return sum(_pss(child.pid) for child in children) * 1024 / 1e6
    finally:
        for child in children:
            child.communicate()


def _pss(process: int) -> int:
    """Kilobytes."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("artifact", type=Path, metavar="DIR")
    parser.add_argument("--engines", default="onnxruntime,onnxruntime-portable")
    parser.add_argument("--processes", default="1,2,4")
    parser.add_argument("--threads", type=int, default=1, help="of each (default: 1)")
    args = parser.parse_args()
    counts = [int(count) for count in args.processes.split(",")]
    print("| engine | prepared | " + " | ".join(f"{count}: MB" for count in counts) + " |")
    print("| --- | --- |" + " ---: |" * len(counts))
    with tempfile.TemporaryDirectory() as folder:
        for engine in args.engines.split(","):
            for prepared in ("", folder):
                os.environ["DDGAN_PREPARED"] = prepared
                if prepared:
                    memory_mb(args.artifact, engine, args.threads, 1)
                sums = [memory_mb(args.artifact, engine, args.threads, count) for count in counts]
                print(
                    f"| {engine} | {'yes' if prepared else 'no'} | {' | '.join(f'{mb:.0f}' for mb in sums)} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
