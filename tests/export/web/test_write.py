"""What lies in DIR/web, and when it is made, kept, made anew or refused."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from ddgan_deploy import open_artifact
from ddgan_deploy.artifact.manifest import MANIFEST, Artifact
from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.errors import InputError
from ddgan_deploy.export import FailedGate, cli
from ddgan_deploy.export.families.ddgan import DdganGraphs
from ddgan_deploy.export.tensorrt.choice import Choice
from ddgan_deploy.export.web import write
from ddgan_deploy.export.web.package import read_package
from ddgan_deploy.export.web.write import check_web, write_web
from ddgan_deploy.sampler import Knob
from tests.conftest import DATA, golden_case
from tests.export.conftest import export_golden
from tests.export.test_rebuild import hashes
from tests.export.web.npm import ROOT, make_package

PAGE = {path.name for path in (ROOT / "export" / "web" / "page").iterdir()}
RUNTIME = {"ort.wasm.min.js", "ort-wasm-simd-threaded.js", "ort-wasm-simd-threaded.wasm", "package.json"}


@pytest.fixture
def package(tmp_path):
    return make_package(tmp_path / "onnxruntime-web")


@pytest.fixture
def folder(exports, tmp_path):
    return Path(shutil.copytree(exports.golden(golden_case("no_fir_t2")).path, tmp_path / "made"))


def rebuild(folder: Path, *more: object) -> int:
    return cli.main(["--rebuild", str(folder), "--engine", "none", *map(str, more)])


def told(folder: Path) -> dict:
    return json.loads((folder / "web" / "sampler.json").read_text())


def check_integrity(folder: Path) -> None:
    """What the page is told of its files is so."""
    page = told(folder)
    assert set(page["runtime"]) == {f"onnxruntime-web/{name}" for name in RUNTIME - {"package.json"}}
    for name, file in (page["files"] | page["runtime"]).items():
        content = (folder / "web" / name).read_bytes()
        assert file["bytes"] == len(content)
        assert file["integrity"] == "sha256-" + base64.b64encode(hashlib.sha256(content).digest()).decode()


def test_the_page_of_an_artifact_that_exists(folder, package, capsys):
    before = hashes(folder)
    assert rebuild(folder, "--web", package) == 0
    assert "the model repository, the page and manifest.json alone were made anew" in " ".join(
        capsys.readouterr().out.split()
    )
    after = hashes(folder)
    made = {name.removeprefix("web/") for name in after.keys() - before.keys()}
    licences = {f"onnxruntime-web/{name}" for name in ("LICENSE", "ThirdPartyNotices.txt")}
    model = {"ddgan.onnx", "weights.bin", "sampler.json"}
    assert made - licences == {*PAGE, *model, *(f"onnxruntime-web/{name}" for name in RUNTIME)}
    assert before.items() <= after.items()
    # The files of the artifact as they are.
    for name in ("ddgan.onnx", "weights.bin"):
        assert after[f"web/{name}"] == after[name]
    check_integrity(folder)
    assert told(folder)["image"] == [3, 32, 32] and told(folder)["steps"] == 2 and told(folder)["knobs"] == []
    read_artifact(folder)


def test_it_stays_until_it_is_asked_for_again(folder, package, tmp_path):
    assert rebuild(folder, "--web", package) == 0
    (folder / "web" / "style.css").write_text("mine")
    before = hashes(folder)
    assert rebuild(folder) == 0
    assert hashes(folder) == before
    newer = make_package(tmp_path / "newer", version="1.31.0")
    assert rebuild(folder, "--web", newer) == 0
    assert json.loads((folder / "web/onnxruntime-web/package.json").read_text())["version"] == "1.31.0"
    assert (folder / "web" / "style.css").read_text() != "mine"


def test_a_new_export_has_it(package, tmp_path):
    result = export_golden(golden_case("no_fir_t2"), tmp_path, web=package, verify=False)
    check_integrity(result.artifact.path)


def test_an_export_that_fails_a_gate_has_none(package, tmp_path, monkeypatch):
    honest = DdganGraphs.build

    def wrong(*args):
        model = honest(*args)
        weight = model.graph.initializers["all_modules.5.Conv_1.weight"]
        weight.const_value = ir.tensor(weight.const_value.numpy() * np.float32(1.5))
        return model

    monkeypatch.setattr(DdganGraphs, "build", wrong)
    with pytest.raises(FailedGate):
        export_golden(golden_case("no_fir_t2"), tmp_path, web=package)
    (failed,) = tmp_path.glob("*-FAILED")
    assert not (failed / "web").exists()


def test_a_refit_makes_it_again(folder, package, tmp_path):
    golden = golden_case("no_fir_t2")
    assert rebuild(folder, "--web", package) == 0
    (folder / "web" / "style.css").write_text("mine")
    weights = torch.load(golden.path, weights_only=True)
    torch.manual_seed(0)
    torch.save({name: weight + 0.01 * torch.randn_like(weight) for name, weight in weights.items()}, tmp_path / "n.pth")
    before = hashes(folder)
    refit = ["--refit", str(folder), "--ckpt", str(tmp_path / "n.pth"), "--config", str(golden.config), "--no-verify"]
    assert cli.main(refit) == 0
    after = hashes(folder)
    assert after["web/weights.bin"] == after["weights.bin"] != before["weights.bin"]
    assert after["web/ddgan.onnx"] == after["ddgan.onnx"]
    assert told(folder)["name"] == "n.pth"
    check_integrity(folder)
    kept = [name for name in before if name.startswith("web/onnxruntime-web/")]
    assert kept and all(before[name] == after[name] for name in kept)
    assert (folder / "web" / "style.css").read_text() == "mine"


def test_a_folder_of_the_user_s_own_stays(folder, package, capsys):
    (folder / "web").mkdir()
    (folder / "web" / "notes.txt").write_text("mine")
    before = hashes(folder)
    assert rebuild(folder, "--web", package) == 2
    assert "made/web was not written by --web: move it elsewhere" in capsys.readouterr().err
    assert rebuild(folder) == 0
    assert hashes(folder).items() - before.items() <= {(MANIFEST, hashes(folder)[MANIFEST])}


def test_weights_that_are_too_large_are_refused_before_the_gates(folder, package, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(write, "_MOST_BYTES", 1000)
    before = hashes(folder)
    assert rebuild(folder, "--web", package) == 2
    assert "of weights are more than the 0.0 GB that a browser can take" in capsys.readouterr().err
    assert hashes(folder) == before
    monkeypatch.setattr("ddgan_deploy.export.pipeline.prove", lambda *_, **__: pytest.fail("the gates have begun"))
    with pytest.raises(InputError, match="of weights"):
        export_golden(golden_case("no_fir_t2"), tmp_path / "new", web=package)
    assert not list(tmp_path.glob("new/*"))


def test_where_no_engine_can_be_built_it_says_what_makes_the_page(folder, package, monkeypatch, capsys):
    monkeypatch.setattr("ddgan_deploy.export.rebuild.choose_engine", lambda *_: Choice(None, "none: no GPU"))
    assert cli.main(["--rebuild", str(folder), "--web", str(package)]) == 2
    assert capsys.readouterr().err.endswith("; --engine none makes the model repository and the page alone\n")


def test_a_knob_without_a_control_is_refused(folder):
    artifact = read_artifact(folder)
    object.__setattr__(artifact.manifest.sampler, "knobs", (Knob("place", "float32", (2,), 0, 1, 0.5),))
    with pytest.raises(InputError, match=r"^--web: the page has no control for the knob place, float32 \[2\]"):
        check_web(artifact)


def test_images_that_a_canvas_does_not_keep_are_refused(folder):
    artifact = read_artifact(folder)
    object.__setattr__(artifact.manifest.sampler, "image", (4, 32, 32))
    with pytest.raises(InputError, match=r"^--web: images are RGBA, .*: leave --web out$"):
        check_web(artifact)


def test_a_loop_has_its_weights_in_the_graph(package, tmp_path):
    artifact = export_golden(golden_case("no_fir_t2"), tmp_path, loop="always", web=package, verify=False).artifact
    assert artifact.manifest.looped and set(told(artifact.path)["files"]) == {"ddgan.onnx"}
    assert not (artifact.path / "web" / "weights.bin").exists()
    check_integrity(artifact.path)
    # Bytes know no folder that weights could lie in.
    graph = (artifact.path / "web" / "ddgan.onnx").read_bytes()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    (images,) = session.run(None, {"seed": np.array([[3]])})
    assert np.array_equal(images, open_artifact(artifact.path, "onnxruntime-portable").generate([3]))


def test_an_older_artifact_s_page_has_the_ops_of_today(package, tmp_path):
    folder = Path(shutil.copytree(DATA / "format1" / "artifact", tmp_path / "old"))
    write_web(Artifact(folder, read_artifact(folder).manifest), read_package(package))
    functions = onnx.load(folder / "web" / "ddgan.onnx", load_external_data=False).functions
    assert functions and not any(function.overload for function in functions)
    check_integrity(folder)


def test_the_page_asks_no_other_host():
    for path in (ROOT / "export" / "web" / "page").iterdir():
        assert set(re.findall(r"https?://[^/:<\s\"]*", path.read_text())) <= {"http://127.0.0.1"}, path.name
