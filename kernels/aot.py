"""Compiles the Triton-language kernels ahead of time, for any GPU, on a machine without one.

    python -m ddgan_deploy.kernels.aot --out DIR --arch 80 --arch 90

DIR holds, for each kernel, dtype and architecture, a cubin and its PTX; ``manifest.json``,
what each kernel takes (registers a thread, bytes spilled a thread, shared memory a block);
and ``launches.txt``, how to choose and launch them, for programs that read no Python
(`launch_index` tells the format).
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import errno
import io
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

try:
    import triton
except ModuleNotFoundError:
    if __name__ != "__main__":
        raise
    print("error: Triton is not installed: pip install 'ddgan-deploy[kernels]'", file=sys.stderr)
    sys.exit(2)

from . import ops
from .compile import DTYPES, compile_launch
from .launch import Launch, OpLaunches, Plan, launches
from .launch_index import launch_index
from .occupancy import SMS, occupancy

ARCHS = (75, 80, 86, 89, 90, 100, 120)
"""What is compiled unless told otherwise; `SMS` has all that can be."""


@dataclass(frozen=True)
class Kernel:
    """One compiled kernel, as in ``manifest.json``.

    Attributes:
        op, name, layout: of its launch; ``name`` ends in ``_aligned`` where that was assumed.
        arch: compute capability times ten.
        dtype: element type T.
        symbol: the function's name in the cubin.
        warps: warps a block.
        registers: 32-bit registers a thread.
        spills: bytes a thread keeps in local memory.
        shared_bytes: shared memory a block.
        occupancy: theoretical, 0..1.
        file, ptx: file names in the folder.
    """

    op: str
    name: str
    arch: int
    dtype: str
    layout: str
    symbol: str
    warps: int
    registers: int
    spills: int
    shared_bytes: int
    occupancy: float
    file: str
    ptx: str


@dataclass(frozen=True)
class Task:
    """What to compile."""

    op: OpLaunches
    plan: Plan
    launch: Launch
    dtype: str
    arch: int

    @property
    def name(self) -> str:
        """The launch's name, with ``_aligned`` where that is assumed."""
        return self.plan.kernel_name(self.launch)

    @property
    def stem(self) -> str:
        """Name of its files."""
        return f"{self.name}.{self.dtype}.sm{self.arch}"


def _compile(task: Task, folder: Path) -> Kernel:
    compiled = compile_launch(task.op, task.plan, task.launch, task.dtype, task.arch)
    stem = task.stem
    (folder / f"{stem}.cubin").write_bytes(compiled.asm["cubin"])
    (folder / f"{stem}.ptx").write_text(compiled.asm["ptx"])
    registers, spills = _usage(folder / f"{stem}.cubin")
    shared = compiled.metadata.shared
    return Kernel(
        task.op.op,
        task.name,
        task.arch,
        task.dtype,
        task.plan.layout,
        compiled.metadata.name,
        task.launch.warps,
        registers,
        spills,
        shared,
        round(occupancy(task.arch, task.launch.warps, registers, shared), 3),
        f"{stem}.cubin",
        f"{stem}.ptx",
    )


def _usage(cubin: Path) -> tuple[int, int]:
    """(registers, bytes of local memory) a thread, as cuobjdump reports them."""
    command = [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", str(cubin)]
    report = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    usage = {key: int(value) for key, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", report)}
    return usage["REG"], usage["STACK"] + usage["LOCAL"]


def tasks(dtypes: Sequence[str], archs: Sequence[int]) -> list[Task]:
    """Every launch of every op, by dtype and architecture."""
    every = launches(ops.all_launches())
    return [Task(op, plan, launch, dtype, arch) for arch in archs for dtype in dtypes for op, plan, launch in every]


def compile_all(out: Path, archs: Sequence[int], dtypes: Sequence[str] = tuple(DTYPES), jobs: int = 1) -> list[Kernel]:
    """Compiles into a folder that appears whole or not at all.

    Raises:
        FileExistsError: the folder exists.
        OSError: it cannot be written.
    """
    if out.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(out))
    made = [parent for parent in out.parents if not parent.exists()]
    folder = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        todo = tasks(dtypes, archs)
        # Two plans may share a kernel.
        distinct = {task.stem: task for task in todo}
        kernels = _compile_in_parallel(list(distinct.values()), folder, jobs)
        rows = [dict(vars(kernel)) for kernel in kernels]
        (folder / "manifest.json").write_text(json.dumps({"kernels": rows}, indent=1) + "\n")
        by_stem = dict(zip(distinct, kernels, strict=True))
        (folder / "launches.txt").write_text(launch_index((task, by_stem[task.stem]) for task in todo))
        folder.chmod(0o755)
        folder.rename(out)
    except BaseException:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        for parent in made:
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise
    return kernels


def _compile_in_parallel(todo: Sequence[Task], folder: Path, jobs: int) -> list[Kernel]:
    # Not by fork: LLVM has threads.
    context = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context)
    try:
        return list(pool.map(_compile, todo, [folder] * len(todo), chunksize=4))
    finally:
        # After an interruption what has not begun is not begun.
        pool.shutdown(cancel_futures=True)


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m ddgan_deploy.kernels.aot", description="Compiles the Triton-language kernels ahead of time."
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write; must not exist")
    parser.add_argument(
        "--arch",
        type=int,
        action="append",
        choices=SMS,
        help=f"compute capability times ten (default: {' '.join(map(str, ARCHS))})",
    )
    parser.add_argument("--dtype", action="append", choices=DTYPES, help="(default: all)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    args = parser.parse_args(argv)
    if args.jobs < 1:
        parser.error("--jobs must be 1 or more")
    # As Ctrl-C, so that nothing is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    archs, dtypes = (tuple(dict.fromkeys(values)) for values in (args.arch or ARCHS, args.dtype or DTYPES))
    try:
        kernels = compile_all(args.out, archs, dtypes, args.jobs)
    except OSError as error:
        place = error.filename or args.out
        print(f"error: {os.fsdecode(place)!r}: {error.strerror or error}: give another place to --out", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A folder's name may be no text.
        sys.stdout.reconfigure(errors="backslashreplace")
    spilling = [kernel.file for kernel in kernels if kernel.spills]
    print(f"{len(kernels)} kernels in {args.out}, {len(spilling)} of them spill registers")
    return 1 if spilling else 0


if __name__ == "__main__":
    sys.exit(main())
