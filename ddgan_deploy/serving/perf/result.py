"""What a run of perf_analyzer found, as plain data that the table, the plot and the JSON share."""

from __future__ import annotations

from dataclasses import dataclass

from ddgan_deploy.serving.client.statistics import Statistics
from ddgan_deploy.serving.perf.analyzer import Client


@dataclass(frozen=True)
class Server:
    """What the server did for a level, its start and its end included.

    Attributes:
        images: that the model gave.
        cache_hits: requests that the server's response cache answered; the model has one of its own, which is not told.
        mean_batch: images a run of the engine; 0 without a run.
        queue_share, compute_share: of the time that requests spent in the server, 0..1.
    """

    images: int
    cache_hits: int
    mean_batch: float
    queue_share: float
    compute_share: float


@dataclass(frozen=True)
class Level:
    """One protocol at one concurrency.

    Attributes:
        client, server: None where a request failed, since perf_analyzer then measures nothing.
        errors: threads of perf_analyzer that a failed request ended.
        reason: of the failure.
    """

    protocol: str
    concurrency: int
    client: Client | None
    server: Server | None
    errors: int = 0
    reason: str = ""


@dataclass(frozen=True)
class PerfResult:
    """What came of all levels.

    Attributes:
        server: its name and version.
        urls: HOST:PORT by protocol.
        first_seed: the seeds counted up from here.
        knobs: the values of each that requests were drawn with.
        statistics_of: the model that the server's figures are of: of an ensemble the one that draws.
    """

    server: str
    urls: dict[str, str]
    model: str
    statistics_of: str
    seconds: float
    seeds: int
    first_seed: int
    knobs: dict[str, object]
    levels: tuple[Level, ...]

    @property
    def repeated(self) -> int:
        """Requests whose seed had come before, or that the server's response cache answered."""
        beyond = sum(max(0, level.client.requests - self.seeds) for level in self.levels if level.client)
        return max(beyond, sum(level.server.cache_hits for level in self.levels if level.server))

    @property
    def failures(self) -> tuple[Level, ...]:
        """The levels in which a request failed."""
        return tuple(level for level in self.levels if level.reason)


def summary(statistics: Statistics, places: int = 1) -> Server:
    """What the counts of a level come to.

    Args:
        places: that a request takes in the model's queue, as in repositories of before, where an ensemble that is
            asked for pixels and PNG files has the model draw for each; every place counts as an image there.
    """
    total = statistics.total_ns or 1
    images = statistics.images // places
    return Server(
        images=images,
        cache_hits=statistics.cache_hits // places,
        mean_batch=images / statistics.runs if statistics.runs else 0.0,
        queue_share=statistics.queue_ns / total,
        compute_share=statistics.compute_ns / total,
    )
