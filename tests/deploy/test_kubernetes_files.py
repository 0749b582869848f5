"""The files of deploy/kubernetes: each is used, and each that one names is there."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.deploy.conftest import KUBERNETES

KUSTOMIZATIONS = sorted(KUBERNETES.rglob("kustomization.yaml"))
NOT_KUSTOMIZED = {KUBERNETES / "prometheus-adapter" / "values.yaml"}
"""For Helm."""


def _named(kustomization: Path) -> list[Path]:
    content = yaml.safe_load(kustomization.read_text())
    names = [*content.get("resources", []), *content.get("components", [])]
    names += [patch["path"] for patch in content.get("patches", []) if "path" in patch]
    names += content.get("configurations", [])
    names += [file for generator in content.get("configMapGenerator", []) for file in generator["envs"]]
    return [(kustomization.parent / name).resolve() for name in names]


def test_there_are_kustomizations():
    assert len(KUSTOMIZATIONS) == 9


@pytest.mark.parametrize("path", KUSTOMIZATIONS, ids=lambda path: str(path.parent.relative_to(KUBERNETES)))
def test_what_a_kustomization_names_exists(path):
    named = _named(path)
    assert named
    for name in named:
        assert name.is_file() or (name / "kustomization.yaml").is_file(), name


def test_every_file_is_named_by_its_kustomization():
    for path in KUBERNETES.rglob("*"):
        if path.is_file() and path.name != "kustomization.yaml" and path not in NOT_KUSTOMIZED:
            assert path in _named(path.parent / "kustomization.yaml"), path


def test_every_patch_has_a_target():
    """Kustomize itself fails where a patch has none; this holds where it is not installed."""
    base = {_identity(path) for path in (KUBERNETES / "base").glob("*.yaml")}
    patches = [
        kustomization.parent / patch["path"]
        for kustomization in KUSTOMIZATIONS
        for patch in yaml.safe_load(kustomization.read_text()).get("patches", [])
        if "path" in patch
    ]
    assert len(patches) == 5
    for patch in patches:
        assert _identity(patch) in base, patch


def test_the_server_of_any_image_reports_to_nobody():
    deployment = yaml.safe_load((KUBERNETES / "base" / "deployment.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {"name": "ORT_DISABLE_TELEMETRY", "value": "1"} in container["env"]


def _identity(path: Path) -> tuple[str, str, str]:
    content = yaml.safe_load(path.read_text())
    return content["apiVersion"], content["kind"], content.get("metadata", {}).get("name", "")
