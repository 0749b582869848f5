"""Our own rows on the server's metrics page."""

from __future__ import annotations

from typing import Any


class Metrics:
    """Counts what the engine does.

    Args:
        server: the module ``triton_python_backend_utils``.
        model: the name under which it is served; a cascade has several in one server.
        engine: its name.
    """

    def __init__(self, server: Any, model: str, engine: str) -> None:
        def counter(name: str, description: str) -> Any:
            return server.MetricFamily(name=name, description=description, kind=server.MetricFamily.COUNTER)

        self._runs_family = counter("ddgan_runs_total", "Runs of the engine, by the images drawn in one")
        self._images_family = counter("ddgan_images_total", "Images that the engine drew")
        self._found_family = counter("ddgan_cached_images_total", "Images that had been drawn before")
        self._labels = {"model": model, "engine": engine}
        self._runs: dict[int, Any] = {}
        self._images = self._images_family.Metric(labels=self._labels)
        self._found = self._found_family.Metric(labels=self._labels)

    def count_run(self, images: int) -> None:
        """One run."""
        if images not in self._runs:
            self._runs[images] = self._runs_family.Metric(labels={**self._labels, "images": str(images)})
        self._runs[images].increment(1)
        self._images.increment(images)

    def count_found(self, images: int) -> None:
        """Images out of the cache."""
        if images:
            self._found.increment(images)
