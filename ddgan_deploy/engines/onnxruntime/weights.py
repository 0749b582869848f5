"""A model's weights, in its own file and made anew in memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx

_SMALL = 1024
"""Bytes below which a tensor stays in the graph itself."""


class Weights:
    """Reads the initializers of a model that is loaded without them, and keeps new ones for the session to copy.

    Attributes:
        made: the contents of the files that exist in memory alone, by the names that the model knows them by.
    """

    def __init__(self, model: onnx.ModelProto, folder: Path | None) -> None:
        self._model = model
        self._folder = folder
        self._files: dict[str, npt.NDArray[np.uint8]] = {}
        self.made: dict[str, npt.NDArray[np.generic]] = {}

    def read(self, tensor: onnx.TensorProto) -> npt.NDArray[np.generic]:
        """An initializer's values, not to be written to.

        Raises:
            OSError: its file cannot be read.
            ValueError: the file ends before it, or is none beside the model.
        """
        from onnx import helper, numpy_helper

        if tensor.name in self.made:
            return self.made[tensor.name]
        if not tensor.external_data:
            return numpy_helper.to_array(tensor)
        place = {entry.key: entry.value for entry in tensor.external_data}
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        offset, count = int(place.get("offset", 0)), int(np.prod(tensor.dims))
        data = self._file(place.get("location", ""))[offset : offset + count * dtype.itemsize]
        return data.view(dtype).reshape(tuple(tensor.dims))

    def add(self, name: str, values: npt.NDArray[np.generic]) -> str:
        """A new initializer of the model's outermost graph, where bodies of Loops find it too; returns its name."""
        import onnx
        from onnx import helper, numpy_helper

        values = np.ascontiguousarray(values)
        if values.nbytes < _SMALL:
            self._model.graph.initializer.append(numpy_helper.from_array(values, name))
            return name
        data_type = helper.np_dtype_to_tensor_dtype(values.dtype)
        tensor = onnx.TensorProto(name=name, dims=values.shape, data_type=data_type, data_location="EXTERNAL")
        for key, value in (("location", name), ("offset", "0"), ("length", str(values.nbytes))):
            tensor.external_data.add(key=key, value=value)
        self._model.graph.initializer.append(tensor)
        self.made[name] = values
        return name

    def forget_unread(self) -> None:
        """Drops what was made anew and is in the model no more."""
        kept = {tensor.name for tensor in self._model.graph.initializer}
        self.made = {name: values for name, values in self.made.items() if name in kept}

    def _file(self, location: str) -> npt.NDArray[np.uint8]:
        if location not in self._files:
            if self._folder is None or Path(location).name != location:
                raise ValueError(f"nobody says where {location} is")
            self._files[location] = np.memmap(self._folder / location, np.uint8, "r")
        return self._files[location]
