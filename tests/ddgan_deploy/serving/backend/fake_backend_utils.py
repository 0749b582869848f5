"""A stand-in for ``triton_python_backend_utils``, which exists in the server's process alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np


class TritonModelException(Exception):
    pass


class TritonError(Exception):
    CANCELLED, INVALID_ARG, INTERNAL = "cancelled", "invalid", "internal"

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Tensor:
    """Takes arrays as they are; `from_dlpack` reads them by their capsule, as the stub does."""

    name: str
    array: np.ndarray

    @staticmethod
    def from_dlpack(name: str, lent: object) -> Tensor:
        lent.__dlpack_device__()
        lent.__dlpack__()
        return Tensor(name, np.array(lent._array))

    def __dlpack__(self, **options: object) -> object:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()


@dataclass
class InferenceResponse:
    tensors: list[Tensor] = field(default_factory=list)
    error: TritonError | None = None


@dataclass
class Request:
    """A request with an input for every name, or one alone for whatever is asked for; None: without."""

    value: object
    cancelled: bool = False

    def is_cancelled(self) -> bool:
        return self.cancelled


def get_input_tensor_by_name(request: Request, name: str) -> Tensor | None:
    value = request.value.get(name) if isinstance(request.value, dict) else request.value
    return None if value is None else Tensor(name, value)


class Logger:
    lines: ClassVar[list[tuple[str, str]]] = []

    @classmethod
    def log_info(cls, text: str) -> None:
        cls.lines.append(("info", text))

    @classmethod
    def log_warn(cls, text: str) -> None:
        cls.lines.append(("warning", text))

    @classmethod
    def log_error(cls, text: str) -> None:
        cls.lines.append(("error", text))


class MetricFamily:
    COUNTER = "counter"
    values: ClassVar[dict[tuple[str, ...], float]] = {}

    def __init__(self, name: str, description: str, kind: str) -> None:
        self.name = name

    def Metric(self, labels: dict[str, str]) -> _Metric:
        return _Metric((self.name, *labels.values()))


@dataclass
class _Metric:
    key: tuple[str, ...]

    def increment(self, value: float) -> None:
        MetricFamily.values[self.key] = MetricFamily.values.get(self.key, 0) + value
