"""Which engine opens an artifact, and that each says what it lacks."""

from __future__ import annotations

import ctypes
import dataclasses
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from ddgan_deploy import gpu as driver
from ddgan_deploy import open_artifact
from ddgan_deploy.artifact.manifest import MANIFEST, SAMPLER, SERVED, write_manifest
from ddgan_deploy.artifact.reading import file_infos, read_artifact, read_damaged, read_sampler
from ddgan_deploy.cli import sample, verify
from ddgan_deploy.engines import ENGINES
from ddgan_deploy.errors import InputError
from ddgan_deploy.inputs import draw
from tests.ddgan_deploy.engines.tensorrt.fake_tensorrt import HostDevice, add_plans


@pytest.fixture(scope="module")
def artifact(exported, tmp_path_factory):
    return shutil.copytree(exported, tmp_path_factory.mktemp("engines") / "artifact")


@pytest.fixture
def no_library(monkeypatch):
    monkeypatch.setattr("ddgan_deploy.kernels.native_library.ort_library", lambda: None)


def test_the_native_library_is_loaded_unless_left_out(artifact, library):
    assert open_artifact(artifact).name == "onnxruntime"
    assert open_artifact(artifact, "onnxruntime").name == "onnxruntime"
    assert open_artifact(artifact, "onnxruntime-portable").name == "onnxruntime-portable"


def test_without_the_library_the_portable_path_is_taken(artifact, no_library, monkeypatch):
    monkeypatch.setattr("ddgan_deploy.engines.openvino.installed", lambda: False)
    engine = open_artifact(artifact)
    assert engine.name == "onnxruntime-portable"
    assert engine.generate([3]).shape == (1, 32, 32, 3)
    with pytest.raises(InputError, match="needs the native library, which is not built here"):
        open_artifact(artifact, "onnxruntime")


def test_both_engines_draw_one_image(artifact, library):
    native, portable = (
        open_artifact(artifact, name).generate([0, 5]) for name in ("onnxruntime", "onnxruntime-portable")
    )
    assert np.abs(native.astype(int) - portable).max() <= 1


@pytest.mark.parametrize("change", [lambda size: bytes(size), lambda size: b""], ids=["zeros", "nothing"])
def test_weights_that_are_written_over_change_no_image(artifact, tmp_path, change):
    copy = shutil.copytree(artifact, tmp_path / "copy")
    engine = open_artifact(copy)
    before = engine.generate([0, 5])
    weights = copy / "weights.bin"
    # In place, as cp does it.
    weights.write_bytes(change(weights.stat().st_size))
    np.testing.assert_array_equal(engine.generate([0, 5]), before)


def test_commands_take_portable(artifact, biggan, library, tmp_path, capsys):
    arguments = [str(artifact), "--ckpt", str(biggan.path), "--config", str(biggan.config), "--seeds", "0"]
    assert verify.main(arguments) == 0
    assert capsys.readouterr().out.endswith("gates passed on onnxruntime\n")
    assert verify.main([*arguments, "--portable"]) == 0
    assert capsys.readouterr().out.endswith("gates passed on onnxruntime-portable\n")
    assert sample.main([str(artifact), "--seeds", "0", "--portable", "--out", str(tmp_path / "a.png")]) == 0


def told_otherwise(artifact, folder, **changes):
    """A copy of the artifact whose manifest, in itself, may be right."""
    copy = shutil.copytree(artifact, folder / "copy")
    write_manifest(copy, dataclasses.replace(read_artifact(copy).manifest, **changes))
    return copy


def of_steps(manifest, steps):
    """What a manifest of another number of steps says."""
    graph = manifest.graphs[SAMPLER]
    inputs = [
        dataclasses.replace(info, shape=(info.shape[0], size, *info.shape[2:]))
        for info, size in zip(graph.inputs, (graph.inputs[0].shape[1], steps, steps - 1), strict=True)
    ]
    graphs = {**manifest.graphs, SAMPLER: dataclasses.replace(graph, inputs=tuple(inputs))}
    draws = tuple(
        draw
        if isinstance(draw.streams, int)
        else dataclasses.replace(draw, streams=dataclasses.replace(draw.streams, count=count))
        for draw, count in zip(manifest.sampler.draws, (0, steps, steps - 1), strict=True)
    )
    sampler = dataclasses.replace(manifest.sampler, steps=steps, draws=draws)
    family = dataclasses.replace(manifest.family, sampling={**manifest.family.sampling, "steps": steps})
    return {"steps": steps, "sampler": sampler, "graphs": graphs, "family": family}


def of_family(manifest, **changes):
    """What a manifest of another model or sampling says; of each one field."""
    told = {kind: {**getattr(manifest.family, kind), **fields} for kind, fields in changes.items()}
    return {"family": dataclasses.replace(manifest.family, **told)}


@pytest.mark.parametrize("engine", ["onnxruntime", "onnxruntime-portable", "openvino-f32"])
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (lambda _: {"precision": "fp16"}, "precision fp16, not fp32"),
        (lambda manifest: of_steps(manifest, 3), "steps 3, not 4"),
        (
            lambda manifest: of_family(manifest, sampling={"beta_min": 0.2}),
            "sampling beta_min 0.2, not 0.1",
        ),
        (
            lambda manifest: of_family(manifest, model={"ch_mult": (2, 1)}),
            "model ch_mult [2, 1], not [1, 2]",
        ),
    ],
    ids=["precision", "steps", "sampling", "model"],
)
def test_a_graph_of_which_the_manifest_says_something_else_does_not_run(
    artifact, library, tmp_path, engine, changes, says
):
    copy = told_otherwise(artifact, tmp_path, **changes(read_artifact(artifact).manifest))
    served = SERVED if engine.startswith("onnxruntime") else SAMPLER
    with open_artifact(copy, engine) as opened:
        inputs = draw(opened.artifact.manifest.sampler, [0])
        for run, name in ((lambda: opened.generate([0]), served), (lambda: opened.sample(inputs), SAMPLER)):
            with pytest.raises(InputError) as caught:
                run()
            assert str(caught.value) == f"{copy / MANIFEST} does not fit {name} ({says}): export again"


@pytest.mark.parametrize("engine", ["onnxruntime", "onnxruntime-portable"])
def test_graphs_that_were_exchanged_do_not_run(artifact, library, tmp_path, engine):
    """Their hashes as well, so that each file is whole."""
    copy = shutil.copytree(artifact, tmp_path / "copy")
    (copy / SAMPLER).rename(copy / "other")
    (copy / SERVED).rename(copy / SAMPLER)
    (copy / "other").rename(copy / SERVED)
    manifest = read_damaged(copy)[0].manifest
    files = {**manifest.files, SAMPLER: manifest.files[SERVED], SERVED: manifest.files[SAMPLER]}
    write_manifest(copy, dataclasses.replace(manifest, files=files))
    says = rf"does not fit {SERVED} \(inputs seed, not noise, x_T, z\): export again$"
    with open_artifact(copy, engine) as opened, pytest.raises(InputError, match=says):
        opened.generate([0])


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino-f32"])
def test_a_verification_says_it_in_one_line(artifact, biggan, library, tmp_path, capsys, engine):
    if engine == "openvino-f32":
        pytest.importorskip("openvino")
    copy = told_otherwise(artifact, tmp_path, precision="fp16")
    arguments = [str(copy), "--ckpt", str(biggan.path), "--config", str(biggan.config), "--seeds", "0"]
    assert verify.main([*arguments, "--engine", engine]) == 2
    error = f"error: {copy / MANIFEST} does not fit {SAMPLER} (precision fp16, not fp32): export again\n"
    assert capsys.readouterr().err.endswith(error)


@pytest.mark.parametrize("metadata", [{}, {"sampling": "{", "model": "[]"}], ids=["none", "others"])
@pytest.mark.parametrize("engine", ["onnxruntime-portable", "openvino-f32"])
def test_a_graph_that_says_nothing_of_itself_runs(artifact, tmp_path, engine, metadata):
    copy = shutil.copytree(artifact, tmp_path / "copy")
    for name in (SAMPLER, SERVED):
        model = onnx.load(copy / name, load_external_data=False)
        del model.metadata_props[:]
        onnx.helper.set_model_props(model, metadata)
        (copy / name).write_bytes(model.SerializeToString())
    manifest = read_damaged(copy)[0].manifest
    files = {**manifest.files, **file_infos(copy, [SAMPLER, SERVED])}
    write_manifest(copy, dataclasses.replace(manifest, files=files))
    read_sampler(read_artifact(copy))
    np.testing.assert_array_equal(
        open_artifact(copy, engine).generate([3]), open_artifact(artifact, engine).generate([3])
    )


def test_reading_the_sampler_compares_it_with_the_manifest(artifact, tmp_path):
    copy = told_otherwise(artifact, tmp_path, precision="int8")
    with pytest.raises(InputError, match=rf"{MANIFEST} does not fit {SAMPLER} \(precision int8, not fp32\)"):
        read_sampler(read_artifact(copy))


def test_portable_and_an_engine_exclude_each_other(artifact, tmp_path, capsys):
    arguments = [str(artifact), "--out", str(tmp_path / "a.png"), "--portable", "--engine", "onnxruntime"]
    assert sample.main(arguments) == 2
    assert "not allowed with argument --portable" in capsys.readouterr().err


@pytest.mark.parametrize(("content", "message"), [(None, "is not a file"), (b"not a library", "cannot load")])
def test_a_wrong_library_is_one_clear_line(artifact, tmp_path, monkeypatch, capsys, content, message):
    library = tmp_path / "library.so"
    if content is not None:
        library.write_bytes(content)
    monkeypatch.setenv("DDGAN_ORT_LIBRARY", str(library))
    assert sample.main([str(artifact), "--seeds", "0", "--out", str(tmp_path / "a.png")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and str(library) in line and message in line
    assert not (tmp_path / "a.png").exists()


def test_help_names_every_engine(capsys):
    with pytest.raises(SystemExit):
        sample.main(["--help"])
    # Lines are wrapped at hyphens too.
    text = "".join(capsys.readouterr().out.split())
    assert all(name in text for name in ENGINES)


def test_an_unknown_engine_is_one_clear_line(artifact):
    with pytest.raises(InputError) as refused:
        open_artifact(artifact, "tensorflow")
    assert str(refused.value) == (
        "engine 'tensorflow' is unknown: "
        "choose auto or one of tensorrt, tensorrt-rtx, onnxruntime, onnxruntime-bf16, openvino-f32, "
        "openvino-bf16, onnxruntime-portable"
    )


@pytest.mark.parametrize("threads", [0, -1, 1025])
def test_threads_out_of_range_are_one_clear_line(artifact, threads):
    with pytest.raises(InputError, match=rf"^threads {threads} is out of range: give 1\.\.1024$"):
        open_artifact(artifact, threads=threads)


def test_engines_are_context_managers(artifact):
    with open_artifact(artifact, "onnxruntime-portable") as engine:
        image = engine.generate([3])
    assert np.array_equal(engine.generate([3]), image)


# What auto takes


@pytest.fixture
def plans(artifact):
    """Puts engine files into the artifact."""
    yield lambda *runtimes: [add_plans(artifact, runtime) for runtime in runtimes]
    for path in artifact.glob("*.plan*"):
        path.unlink()


@pytest.fixture
def gpu(gpu, monkeypatch):
    """One that several engines open in turn."""
    monkeypatch.setattr("ddgan_deploy.engines.tensorrt.engine.open_device", lambda engine: HostDevice())


def _auto(artifact, capsys) -> tuple[str, str]:
    """What auto opens, and what it says."""
    with open_artifact(artifact) as engine:
        assert engine.generate([0]).shape == (1, 32, 32, 3)
    return engine.name.removesuffix("-portable"), capsys.readouterr().err


def test_auto_takes_tensorrt_first(artifact, plans, gpu, capsys):
    assert _auto(artifact, capsys) == ("onnxruntime", "")
    plans("tensorrt-rtx")
    assert _auto(artifact, capsys) == ("tensorrt-rtx", "")
    plans("tensorrt")
    assert _auto(artifact, capsys) == ("tensorrt", "")


def test_auto_passes_over_what_is_not_installed(artifact, plans, gpu, monkeypatch, capsys):
    plans("tensorrt", "tensorrt-rtx")
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert _auto(artifact, capsys) == ("tensorrt-rtx", "")
    monkeypatch.setitem(sys.modules, "tensorrt_rtx_bindings", None)
    assert _auto(artifact, capsys) == ("onnxruntime", "")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("ddgan.plan", b"not an engine", "header.magicTag failed.)"),
        ("ddgan.plan.json", b"{}", "is damaged (format_version: Field required)"),
        ("sampler.plan", None, "has no engine sampler.plan"),
    ],
)
def test_auto_passes_over_an_unfit_engine_and_says_so(artifact, plans, gpu, capsys, name, content, reason):
    plans("tensorrt")
    if content is None:
        (artifact / name).unlink()
    else:
        (artifact / name).write_bytes(content)
    runtime, said = _auto(artifact, capsys)
    assert runtime == "onnxruntime"
    (line,) = said.splitlines()
    assert line.startswith("note: tensorrt does not run here: ") and reason in line
    assert line.endswith(f"ddgan-export --rebuild {artifact} --engine tensorrt")
    with pytest.raises(InputError):
        open_artifact(artifact, "tensorrt")


def test_without_a_gpu_auto_imports_nothing_large(artifact, plans):
    plans("tensorrt", "tensorrt-rtx")
    program = (
        "import ctypes, sys\n"
        "def no_driver(*_): raise OSError\n"
        "ctypes.CDLL = no_driver\n"
        "from ddgan_deploy import open_artifact\n"
        f"print(open_artifact({str(artifact)!r}, 'auto').name)\n"
        "large = {'torch', 'tensorrt', 'tensorrt_rtx_bindings', 'ddgan_deploy.engines.tensorrt.engine'}\n"
        "print(sorted(large & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    name, imported = done.stdout.splitlines()
    assert name.startswith("onnxruntime") and imported == "[]"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("start", "count", "found"), [(0, 2, True), (0, 0, False), (100, 1, False)], ids=["gpus", "none", "broken"]
)
def test_a_gpu_is_found_by_the_driver(monkeypatch, start, count, found):
    def devices(pointer) -> int:
        pointer._obj.value = count
        return 0

    monkeypatch.setattr(
        ctypes, "CDLL", lambda name: SimpleNamespace(cuInit=lambda flags: start, cuDeviceGetCount=devices)
    )
    assert driver.has_gpu() is found


def test_without_a_driver_there_is_no_gpu(monkeypatch):
    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert not driver.has_gpu()
    assert driver.driver_version() is None


def test_the_drivers_version_is_read(monkeypatch):
    calls = []

    def version(buffer, size) -> int:
        buffer.value = b"580.65.06"
        assert size >= 80
        return 0

    library = SimpleNamespace(
        nvmlInit_v2=lambda: calls.append("init") or 0,
        nvmlSystemGetDriverVersion=version,
        nvmlShutdown=lambda: calls.append("shutdown") or 0,
    )
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    assert driver.driver_version() == "580.65.06"
    assert calls == ["init", "shutdown"]
