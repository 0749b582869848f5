"""The table of what each Triton-language kernel takes, from an ahead-of-time compiled folder.

    python -m ddgan_deploy.kernels.aot --out DIR
    python benchmarks/kernel_resources.py DIR

Registers a thread and theoretical occupancy by architecture, threads and shared
memory a block; in Markdown. Nothing is run: these are the compiler's figures.
"""

from __future__ import annotations

import argparse
import json
from itertools import groupby
from pathlib import Path


def rows(kernels: list[dict[str, object]], dtypes: list[str]) -> list[str]:
    """Lines of the table."""
    archs = sorted({kernel["arch"] for kernel in kernels})
    head = ["kernel", "dtype", "threads", "shared", *(f"sm {arch}" for arch in archs)]
    lines = [f"| {' | '.join(head)} |", f"| --- | --- |{' ---: |' * (len(head) - 2)}"]
    order = {kernel["name"]: i for i, kernel in reversed(list(enumerate(kernels)))}
    chosen = [kernel for kernel in kernels if kernel["dtype"] in dtypes]
    chosen.sort(key=lambda kernel: (order[kernel["name"]], dtypes.index(kernel["dtype"]), kernel["arch"]))
    for (name, dtype), group in groupby(chosen, lambda kernel: (kernel["name"], kernel["dtype"])):
        members = list(group)
        shared = sorted({member["shared_bytes"] for member in members})
        figures = [f"{member['registers']} ({member['occupancy']:.0%})" for member in members]
        cells = [
            f"`{name}`",
            dtype,
            str(members[0]["warps"] * 32),
            " to ".join(dict.fromkeys(map(str, (shared[0], shared[-1])))),
            *figures,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="what python -m ddgan_deploy.kernels.aot wrote")
    parser.add_argument("--dtype", nargs="+", default=["float32", "float16"])
    args = parser.parse_args()
    kernels = json.loads((args.folder / "manifest.json").read_text())["kernels"]
    spilling = sum(kernel["spills"] > 0 for kernel in kernels)
    print("\n".join(rows(kernels, args.dtype)))
    print(f"\n{len(kernels)} kernels were compiled; {spilling} of them spill.")


if __name__ == "__main__":
    main()
