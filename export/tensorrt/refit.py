"""New weights into a TensorRT engine, through its refitter; needs the GPU that it was built for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ddgan_deploy.engines.tensorrt.runtimes import import_runtime
from ddgan_deploy.errors import GateError, InputError
from ddgan_deploy.export.tensorrt.build import first_error, new_log, one_line
from ddgan_deploy.export.tensorrt.job import ParserModel


def refit_engine(plan: Path, model: ParserModel, onnx: Path, target: Path) -> None:
    """Writes an engine with the weights of another graph.

    Args:
        plan: the engine, built refittable.
        model: the graph with the new weights, prepared as the one that the engine was built from.
        onnx: the file that it was read from; weights lie beside it.
        target: file to write.

    Raises:
        InputError: TensorRT is not installed or cannot read the engine here.
        GateError: the engine does not take the weights; names one.
    """
    trt = import_runtime("tensorrt")
    log = new_log(trt)
    engine = trt.Runtime(log).deserialize_cuda_engine(plan.read_bytes())
    if engine is None:
        raise InputError(f"TensorRT cannot read {plan}: {first_error(log.lines)}; build it anew with --rebuild")
    refitter = trt.Refitter(engine, log)
    parser = trt.OnnxParserRefitter(refitter, log)
    if not parser.refit_from_bytes(model.proto, str(onnx)):
        raise GateError(f"TensorRT cannot take the weights of {onnx.name}: {_parser_error(parser, log)}")
    missing = refitter.get_missing_weights()
    if missing or not refitter.refit_cuda_engine():
        reason = f"it also wants {missing[0]}" if missing else first_error(log.lines)
        raise GateError(f"TensorRT cannot refit {plan.name}: {reason}; build it anew with --rebuild")
    target.write_bytes(engine.serialize_with_config(_serialization(trt, engine)))


def _serialization(trt: Any, engine: Any) -> Any:
    """Without the flag, which TensorRT has from 10.14 on, the new engine may not be refittable in its turn."""
    config = engine.create_serialization_config()
    if hasattr(trt.SerializationFlag, "INCLUDE_REFIT"):
        config.set_flag(trt.SerializationFlag.INCLUDE_REFIT)
    return config


def _parser_error(parser: Any, log: Any) -> str:
    return one_line(parser.get_error(0).desc()) if parser.num_errors else first_error(log.lines)
