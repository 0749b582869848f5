"""Parquet files as the datasets library shows them: an image a row, its seed and the numbers among its knobs.

The image is a struct of a PNG file's bytes and a path, and the file's metadata says so (Hugging Face's datasets,
features of a parquet file).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ddgan_deploy.bulk.formats.base import Batch, Writer, png, require_package, require_png

_GROUP_BYTES = 32 << 20
"""Of images, in a group of rows."""


class Parquet:
    """See the module."""

    name = "parquet"
    is_folder = False

    def require(self, image: Sequence[int]) -> None:
        """As `Format.require`."""
        require_png(image)
        require_package(self.name, "pyarrow", "pyarrow")

    def shard_name(self, number: int) -> str:
        """As `Format.shard_name`."""
        return f"{number:06d}.parquet"

    @contextlib.contextmanager
    def writer(self, path: Path, count: int, image: Sequence[int]) -> Iterator[Writer]:
        """As `Format.writer`."""
        rows = _Rows(path)
        try:
            yield rows
            rows.flush()
        finally:
            rows.close()


class _Rows:
    """Rows that are gathered into groups."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0
        self._schema: Any = None

    def add(self, batch: Batch) -> None:
        self._schema = self._schema or _schema(batch.knobs)
        for k in range(len(batch.seeds)):
            content = png(batch.images[k])
            told = {name: value[k].item() for name, value in batch.knobs.items()}
            self._rows.append({"image": {"bytes": content, "path": None}, "seed": int(batch.seeds[k]), **told})
            self._bytes += len(content)
        if self._bytes >= _GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        import pyarrow
        from pyarrow import parquet

        if not self._rows:
            return
        self._file = self._file or parquet.ParquetWriter(self._path, self._schema, compression="none")
        self._file.write_table(pyarrow.Table.from_pylist(self._rows, self._schema))
        self._rows, self._bytes = [], 0

    def close(self) -> None:
        if self._file:
            self._file.close()


def _schema(knobs: Mapping[str, np.ndarray[Any, Any]]) -> Any:
    import pyarrow

    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    kinds = {name: pyarrow.from_numpy_dtype(value.dtype) for name, value in knobs.items()}
    fields = [("image", image), ("seed", pyarrow.uint64()), *kinds.items()]
    features: dict[str, Any] = {name: {"dtype": str(kind), "_type": "Value"} for name, kind in fields[1:]}
    features = {"image": {"_type": "Image"}} | features
    told = json.dumps({"info": {"features": features}})
    return pyarrow.schema(fields, metadata={"huggingface": told})
