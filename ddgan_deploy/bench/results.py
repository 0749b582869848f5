"""What was measured, as plain data that the table, the plot and the JSON share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ddgan_deploy.bench.names import Device
from ddgan_deploy.sampler import Dtype, Precision


@dataclass(frozen=True)
class Opened:
    """What it took to get an engine going.

    Attributes:
        import_s: seconds until its Python packages were imported.
        load_s: seconds from there until it had run once, at the smallest batch size: reading, compiling and, for
            ``onnxruntime-plain``, exporting.
    """

    import_s: float
    load_s: float


@dataclass(frozen=True)
class Row:
    """One engine at one batch size.

    Attributes:
        engine, device: its name, and what it computes on.
        precision: of the artifact, or of PyTorch's weights.
        artifact: the folder; None for engines that run the generator itself.
        batch: images a run.
        runs: that were timed.
        median_ms, p95_ms: time of a run, from noise in memory to x_0 in memory.
        images_per_s: batch / median.
        speedup_vs_eager: eager PyTorch's median at the same batch on the same device over this one; None where that
            was not measured.
        roofline_ms: the least time that the machine's rates allow; None where they are not known.
        roofline_share: roofline_ms / median_ms.
        peak_mb: most memory that the engine's process had had until then, in megabytes.
        gpu_peak_mb: the same on the GPU, by PyTorch's account; None where it does not know.
        import_s, load_s: see `Opened`.
        doubtful: why the row cannot be right, on one line; None where nothing speaks against it.
    """

    engine: str
    device: Device
    precision: Precision
    artifact: str | None
    batch: int
    runs: int
    median_ms: float
    p95_ms: float
    images_per_s: float
    speedup_vs_eager: float | None
    roofline_ms: float | None
    roofline_share: float | None
    peak_mb: float
    gpu_peak_mb: float | None
    import_s: float
    load_s: float
    doubtful: str | None = None


@dataclass(frozen=True)
class Skipped:
    """What was not measured.

    Attributes:
        batch: the only batch size concerned; None: all of them.
    """

    engine: str
    reason: str
    precision: Precision | None = None
    batch: int | None = None


@dataclass(frozen=True)
class Rates:
    """What a device does at best, by one large product of matrices and one large copy.

    Attributes:
        flops: dtype -> operations a second.
        bytes: a second, read and written together.
        source: "measured" (medians over the whole run), or whose data sheet.
    """

    flops: Mapping[Dtype, float]
    bytes: float
    source: str = "measured"


@dataclass(frozen=True)
class OpShare:
    """Time of one kind of op in one run.

    Attributes:
        op_type, layer, shape: what is summed over the steps; the latter two are empty where a whole type is summed.
        count: nodes.
        ms: time of all of them.
        share: of the time of all nodes, 0..1.
        roofline_share: of that time, what the machine's rates ask for; None for what is not in the graph, such as a
            runtime's own changes of layout.
    """

    op_type: str
    layer: str
    shape: tuple[int, ...]
    count: int
    ms: float
    share: float
    roofline_share: float | None


@dataclass(frozen=True)
class PerOp:
    """Where an engine's time goes.

    Attributes:
        by_type: every op type, the slowest first.
        top: the slowest layers.
    """

    engine: str
    precision: Precision
    artifact: str
    batch: int
    by_type: tuple[OpShare, ...]
    top: tuple[OpShare, ...]


@dataclass(frozen=True)
class Environment:
    """Where and on what it was measured.

    Attributes:
        cpu, gpu: models; "" where there is none or it cannot be told.
        cores: that the process may use.
        threads: of every engine on the CPU.
        isa: the CPU's vector instructions.
        memory_gb: of the machine.
        versions: package -> version.
        date: UTC.
        checkpoint_sha256: of the artifacts.
        pytorch_weights: "random", or the file they came from.
        image, steps: the sampler's size.
        gflop_per_image: of its graph, all steps.
        rates: device -> what it does at best.
    """

    cpu: str
    cores: int
    threads: int
    isa: tuple[str, ...]
    memory_gb: float
    gpu: str
    os: str
    python: str
    versions: Mapping[str, str]
    date: str
    checkpoint_sha256: str
    pytorch_weights: str
    image: tuple[int, int, int]
    steps: int
    gflop_per_image: float
    rates: Mapping[Device, Rates]


@dataclass(frozen=True)
class BenchResult:
    """A whole run of ddgan-bench."""

    rows: tuple[Row, ...]
    skipped: tuple[Skipped, ...]
    environment: Environment
    per_op: tuple[PerOp, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """What is written as JSON."""
        return dataclasses.asdict(self)
