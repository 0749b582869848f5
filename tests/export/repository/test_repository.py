"""The model repository of an artifact, read as Triton Inference Server reads it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import onnx
import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig, ModelInstanceGroup, ModelQueuePolicy

from ddgan_deploy.artifact.manifest import Artifact, write_manifest
from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.artifact.serving import Serving
from ddgan_deploy.engines.tensorrt.plan import (
    PLAN_FORMAT,
    RTX_PLAN,
    SERVED_PLAN,
    BatchProfile,
    PlanInfo,
    write_plan_info,
)
from ddgan_deploy.errors import InputError
from ddgan_deploy.export import cli
from ddgan_deploy.export.repository.write import REPOSITORY, write_model_repository
from tests.conftest import golden_case

KINDS = ModelInstanceGroup.Kind
UINT8, INT64, BYTES = DataType.TYPE_UINT8, DataType.TYPE_INT64, DataType.TYPE_STRING
PROFILE = BatchProfile(1, 4, 16)


@pytest.fixture
def exported(exports):
    return exports.golden(golden_case("no_fir_t2")).path


@pytest.fixture
def artifact(exported, tmp_path):
    """An artifact without a model repository."""
    folder = shutil.copytree(exported, tmp_path / "made", ignore=shutil.ignore_patterns(REPOSITORY))
    return read_artifact(folder)


def _add_plan(artifact: Artifact, name: str, profile: BatchProfile = PROFILE) -> None:
    runtime = "tensorrt-rtx" if name == RTX_PLAN else "tensorrt"
    info = PlanInfo(
        PLAN_FORMAT, runtime, "11.4.0", ("8.9",), "none", False, "ddgan.onnx", "", "", profile, "fp32", "fused", False,
        None, None, 1.0,
    )  # fmt: skip
    (artifact.path / name).write_bytes(b"an engine")
    write_plan_info(artifact.path / name, info)


def _configs(repository: Path) -> dict[str, ModelConfig]:
    texts = {path.parent.name: path.read_text() for path in repository.glob("*/config.pbtxt")}
    return {name: text_format.Parse(text, ModelConfig()) for name, text in texts.items()}


def _inputs(config: ModelConfig) -> list[tuple[str, int, list[int]]]:
    return [(tensor.name, tensor.data_type, list(tensor.dims)) for tensor in config.input]


def _outputs(config: ModelConfig) -> list[tuple[str, int, list[int]]]:
    return [(tensor.name, tensor.data_type, list(tensor.dims)) for tensor in config.output]


def _dims(artifact: Artifact) -> list[int]:
    channels, height, width = artifact.manifest.sampler.image
    return [height, width, channels]


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


class TestPython:
    def test_files(self, artifact):
        folder = write_model_repository(artifact, Serving())
        assert _files(folder) == {
            "ddgan/config.pbtxt",
            "ddgan/1/model.py",
            *(f"ddgan/1/artifact/{name}" for name in ("manifest.json", *artifact.manifest.files)),
            "ddgan/warmup/seed",
            "ddgan_png/config.pbtxt",
            "ddgan_png/1/README",
            "ddgan_encoder/config.pbtxt",
            "ddgan_encoder/1/model.py",
        }
        weights = [path / "weights.bin" for path in (artifact.path, folder / "ddgan/1/artifact")]
        assert weights[0].read_bytes() == weights[1].read_bytes()
        # ONNX refuses weights that have several names.
        assert weights[0].stat().st_nlink == 1
        onnx.checker.check_model(artifact.path / "ddgan.onnx")
        assert (folder / "ddgan/warmup/seed").read_bytes() == bytes(8)

    def test_it_stands_alone(self, artifact, tmp_path):
        alone = shutil.copytree(write_model_repository(artifact, Serving()), tmp_path / "alone")
        shutil.rmtree(artifact.path)
        assert read_artifact(alone / "ddgan/1/artifact").manifest == artifact.manifest

    def test_one_model_for_pixels(self, artifact):
        config = _configs(write_model_repository(artifact, Serving(max_batch=5)))["ddgan"]
        assert (config.name, config.backend, config.max_batch_size) == ("ddgan", "python", 5)
        assert _inputs(config) == [("seed", INT64, [1])]
        assert _outputs(config) == [("image", UINT8, _dims(artifact)), ("drawn_seed", INT64, [1])]
        # That one would keep refusals, and does not look at the outputs that a request names.
        assert not config.response_cache.enable

    def test_one_model_for_png_files(self, artifact):
        configs = _configs(write_model_repository(artifact, Serving(max_batch=5)))
        config, encoder = configs["ddgan_png"], configs["ddgan_encoder"]
        assert (config.name, config.platform, config.max_batch_size) == ("ddgan_png", "ensemble", 5)
        assert _inputs(config) == [("seed", INT64, [1])]
        # Of several outputs, one that a request does not name would spoil the others: see the template.
        assert _outputs(config) == [("png", BYTES, [1])]
        steps = [(s.model_name, dict(s.input_map), dict(s.output_map)) for s in config.ensemble_scheduling.step]
        assert steps == [
            ("ddgan", {"seed": "seed"}, {"image": "image", "drawn_seed": "drawn_seed"}),
            (
                "ddgan_encoder",
                {"image": "image", "seed": "seed", "drawn_seed": "drawn_seed"},
                {"png": "png"},
            ),
        ]
        assert (encoder.name, encoder.backend, encoder.max_batch_size) == ("ddgan_encoder", "python", 5)
        assert _inputs(encoder) == [("image", UINT8, _dims(artifact)), ("drawn_seed", INT64, [1]), ("seed", INT64, [1])]
        assert _outputs(encoder) == [("png", BYTES, [1])]

    def test_no_policy_keeps_the_server_from_looking_at_its_queue(self, artifact):
        for config in _configs(write_model_repository(artifact, Serving())).values():
            assert not config.dynamic_batching.HasField("default_queue_policy")

    def test_a_queue_is_bounded_where_that_is_asked_for(self, artifact):
        configs = _configs(write_model_repository(artifact, Serving(queue_size=100)))
        policy = configs["ddgan"].dynamic_batching.default_queue_policy
        assert (policy.max_queue_size, policy.default_timeout_microseconds) == (100, 30_000_000)
        assert policy.timeout_action == ModelQueuePolicy.TimeoutAction.REJECT and policy.allow_timeout_override
        assert not configs["ddgan_encoder"].dynamic_batching.HasField("default_queue_policy")

    def test_the_engine_batches(self, artifact):
        config = _configs(write_model_repository(artifact, Serving()))["ddgan"]
        assert (config.backend, config.max_batch_size) == ("python", 8)
        batching = config.dynamic_batching
        assert list(batching.preferred_batch_size) == [8] and batching.max_queue_delay_microseconds == 100
        assert [(w.name, w.batch_size, w.inputs["seed"].input_data_file) for w in config.model_warmup] == [
            ("seed_1", 1, "seed"),
            ("seed_8", 8, "seed"),
        ]
        assert {key: value.string_value for key, value in config.parameters.items()} == {
            "artifact": "artifact",
            "engine": "auto",
            "threads": "0",
        }

    def test_one_instance_on_a_machine_without_gpu(self, artifact):
        (group,) = _configs(write_model_repository(artifact, Serving()))["ddgan"].instance_group
        assert (group.kind, group.count) == (KINDS.KIND_CPU, 1) and not group.rate_limiter.resources

    def test_an_engine_for_gpus_goes_where_one_is(self, artifact):
        _add_plan(artifact, RTX_PLAN)
        (group,) = _configs(write_model_repository(artifact, Serving()))["ddgan"].instance_group
        assert (group.kind, group.count) == (KINDS.KIND_AUTO, 1)
        assert [(r.name, r.count) for r in group.rate_limiter.resources] == [("gpu_turn", 1)]

    def test_batches_of_one_warm_up_once(self, artifact):
        config = _configs(write_model_repository(artifact, Serving(max_batch=1)))["ddgan"]
        assert [warmup.batch_size for warmup in config.model_warmup] == [1]


class TestOnnxRuntime:
    def test_files(self, artifact, library):
        folder = write_model_repository(artifact, Serving("onnxruntime"))
        assert _files(folder / "ddgan") == {
            "config.pbtxt",
            "1/ddgan.onnx",
            "1/weights.bin",
            library.name,
            "warmup/seed",
        }
        config = _configs(folder)["ddgan"]
        assert (config.backend, config.default_model_filename) == ("onnxruntime", "ddgan.onnx")
        assert list(config.model_operations.op_library_filename) == [library.name]
        assert config.parameters["intra_op_thread_count"].string_value == "0"

    def test_the_graph_s_outputs_are_what_there_is(self, artifact):
        """It runs in the server's own process, with the server's cache."""
        configs = _configs(write_model_repository(artifact, Serving("onnxruntime")))
        config = configs["ddgan"]
        assert (_inputs(config), _outputs(config)) == ([("seed", INT64, [1])], [("image", UINT8, _dims(artifact))])
        assert config.response_cache.enable
        draw, encode = configs["ddgan_png"].ensemble_scheduling.step
        assert (dict(draw.input_map), dict(draw.output_map)) == ({"seed": "seed"}, {"image": "image"})
        assert (dict(encode.input_map), dict(encode.output_map)) == ({"image": "image", "seed": "seed"}, {"png": "png"})
        assert _inputs(configs["ddgan_encoder"]) == [("image", UINT8, _dims(artifact)), ("seed", INT64, [1])]

    def test_without_the_native_library(self, artifact, monkeypatch):
        monkeypatch.setattr("ddgan_deploy.export.repository.backends.ort_library", lambda: None)
        folder = write_model_repository(artifact, Serving("onnxruntime"))
        assert not _configs(folder)["ddgan"].HasField("model_operations")

    @pytest.mark.parametrize(
        ("accelerator", "kind", "providers"),
        [
            ("auto", KINDS.KIND_AUTO, []),
            ("cpu", KINDS.KIND_CPU, []),
            ("cuda", KINDS.KIND_GPU, []),
            ("tensorrt", KINDS.KIND_GPU, ["tensorrt"]),
        ],
    )
    def test_accelerators(self, artifact, accelerator, kind, providers):
        config = _configs(write_model_repository(artifact, Serving("onnxruntime", 4, accelerator)))["ddgan"]
        assert [group.kind for group in config.instance_group] == [kind]
        accelerators = config.optimization.execution_accelerators.gpu_execution_accelerator
        assert [entry.name for entry in accelerators] == providers
        for entry in accelerators:
            assert entry.parameters["precision_mode"] == "FP32"


class TestTensorRt:
    def test_is_taken_where_its_engine_was_built(self, artifact):
        _add_plan(artifact, SERVED_PLAN)
        folder = write_model_repository(artifact, Serving())
        config = _configs(folder)["ddgan"]
        assert (config.backend, config.default_model_filename) == ("tensorrt", "ddgan.plan")
        assert _files(folder / "ddgan" / "1") == {"ddgan.plan"}
        assert config.max_batch_size == 16 and list(config.dynamic_batching.preferred_batch_size) == [4, 16]
        assert [group.kind for group in config.instance_group] == [KINDS.KIND_GPU]

    def test_an_engine_without_single_images_is_left_to_ours(self, artifact):
        _add_plan(artifact, SERVED_PLAN, BatchProfile(2, 4, 16))
        assert _configs(write_model_repository(artifact, Serving()))["ddgan"].backend == "python"

    @pytest.mark.parametrize(
        ("profile", "serving", "says"),
        [
            (None, Serving("tensorrt"), "--backend tensorrt runs ddgan.plan, which there is not"),
            (BatchProfile(2, 4, 16), Serving("tensorrt"), "takes batches of 2:4:16"),
            (BatchProfile(1, 4, 16), Serving("auto", 17), "--max-batch 17 is more than ddgan.plan takes (1:4:16)"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, artifact, profile, serving, says):
        if profile:
            _add_plan(artifact, SERVED_PLAN, profile)
        with pytest.raises(InputError, match=re.escape(says)):
            write_model_repository(artifact, serving)
        assert not (artifact.path / REPOSITORY).exists()


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--max-batch", "0"], "--max-batch 0 is out of range"),
        (["--max-batch", "1025"], "--max-batch 1025 is out of range"),
        (["--queue-size", "-1"], "--queue-size -1 is out of range: give 1..1000000, or 0 for no bound"),
        (["--queue-size", "1000001"], "--queue-size 1000001 is out of range"),
        (["--accelerator", "cuda"], "--accelerator cuda is of the onnxruntime backend"),
        (["--backend", "abacus"], "invalid choice: 'abacus'"),
        (["--engine", "none", "--backend", "tensorrt"], "--backend tensorrt runs ddgan.plan, which there is not"),
    ],
)
def test_wrong_options_cost_no_work(tmp_path, capsys, monkeypatch, argv, says):
    monkeypatch.setattr(
        "ddgan_deploy.export.pipeline.load_checkpoint", lambda *args: pytest.fail("read the checkpoint")
    )
    assert cli.main(["--demo", "--out", str(tmp_path / "made"), *argv]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
    assert not any(tmp_path.iterdir())


class TestExistingArtifacts:
    def test_rebuild_makes_the_repository_alone(self, exported, tmp_path, capsys):
        folder = shutil.copytree(exported, tmp_path / "made")
        (folder / REPOSITORY / "ddgan" / "config.pbtxt").write_text("spoilt")
        before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        argv = ["--rebuild", str(folder), "--engine", "none", "--backend", "onnxruntime", "--max-batch", "3"]
        assert cli.main([*argv, "--accelerator", "cpu"]) == 0
        assert _configs(folder / REPOSITORY)["ddgan"].backend == "onnxruntime"
        after = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        assert {name for name in before if before[name] != after[name]} == {"manifest.json"}
        assert read_artifact(folder).manifest.serving == Serving("onnxruntime", 3, "cpu")

    def test_what_is_not_said_stays(self, exported, tmp_path):
        folder = shutil.copytree(exported, tmp_path / "made")
        assert cli.main(["--rebuild", str(folder), "--engine", "none", "--max-batch", "3"]) == 0
        assert cli.main(["--rebuild", str(folder), "--engine", "none"]) == 0
        configs = _configs(folder / REPOSITORY)
        assert {config.max_batch_size for config in configs.values()} == {3}
        for said, kept in ((["--queue-size", "9"], 9), ([], 9), (["--queue-size", "0"], 0)):
            assert cli.main(["--rebuild", str(folder), "--engine", "none", *said]) == 0
            policy = _configs(folder / REPOSITORY)["ddgan"].dynamic_batching.default_queue_policy
            assert policy.max_queue_size == kept and read_artifact(folder).manifest.serving.queue_size == kept

    def test_another_backend_forgets_the_accelerator(self, exported, tmp_path):
        folder = shutil.copytree(exported, tmp_path / "made")
        rebuild = ["--rebuild", str(folder), "--engine", "none"]
        assert cli.main([*rebuild, "--backend", "onnxruntime", "--accelerator", "cpu"]) == 0
        assert cli.main([*rebuild, "--backend", "python"]) == 0
        assert read_artifact(folder).manifest.serving == Serving("python")

    def test_refit_serves_the_new_weights_as_the_old(self, exported, tmp_path, capsys):
        folder = shutil.copytree(exported, tmp_path / "made")
        assert cli.main(["--rebuild", str(folder), "--engine", "none", "--max-batch", "3"]) == 0
        golden = golden_case("no_fir_t2")
        argv = ["--refit", str(folder), "--ckpt", str(golden.path), "--no-verify"]
        assert cli.main([*argv, "--max-batch", "4"]) == 2
        assert "--refit keeps the model repository's options" in capsys.readouterr().err
        assert cli.main(argv) == 0
        served = folder / REPOSITORY / "ddgan/1/artifact"
        assert (served / "weights.bin").read_bytes() == (folder / "weights.bin").read_bytes()
        assert _configs(folder / REPOSITORY)["ddgan"].max_batch_size == 3

    def test_an_artifact_of_before_has_the_defaults(self, artifact):
        write_manifest(artifact.path, artifact.manifest)
        manifest = artifact.path / "manifest.json"
        text = re.sub(r',\s*"serving": \{[^}]*\}', "", manifest.read_text())
        assert '"serving"' not in text
        manifest.write_text(text)
        assert read_artifact(artifact.path).manifest.serving == Serving()
