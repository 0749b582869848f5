"""KServe's manifests: valid for it, and what it makes of them is the pod of the base."""

from __future__ import annotations

import copy
import os
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from ddgan_deploy.serving import MODEL
from tests.deploy import resources
from tests.deploy.conftest import KUBERNETES, Built, Manifest, kustomize
from tests.deploy.kserve import kserve_models
from tests.deploy.resources import Model, changed

OURS = {"ServingRuntime": "V1alpha1ServingRuntime", "InferenceService": "V1beta1InferenceService"}
MOUNTED = "/mnt/models"
"""Where KServe mounts what storageUri names."""


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    wheels = sorted((Path(sys.prefix) / "share" / "ddgan-deploy" / "kserve").glob("kserve-*.whl"))
    if not wheels:
        reason = "there is no wheel of KServe's package: python tools/fetch_checkers.py"
        pytest.fail(reason) if "CI" in os.environ else pytest.skip(reason)
    return kserve_models(wheels[-1])


@pytest.fixture(scope="module")
def kserve() -> Built:
    return Built("kserve", kustomize(KUBERNETES / "kserve"))


def pod(kserve: Built) -> Manifest:
    """The pod that KServe makes: the runtime's, with what the service says for it and its container."""
    runtime, predictor = kserve.one("ServingRuntime")["spec"], kserve.one("InferenceService")["spec"]["predictor"]
    (container,) = copy.deepcopy(runtime["containers"])
    model = {"modelFormat", "runtime", "protocolVersion", "storageUri"}
    container |= {key: value for key, value in predictor["model"].items() if key not in model}
    of_service = {"model", "labels", "deploymentStrategy"}
    spec = {key: value for key, value in predictor.items() if key not in of_service}
    spec |= {"containers": [container], "volumes": runtime["volumes"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": predictor["labels"]}, "spec": spec}


def wrong(models: dict[str, Model], manifest: Manifest) -> list[str]:
    return resources.wrong(models, manifest, OURS[manifest["kind"]], manifest["kind"])


@pytest.mark.parametrize("kind", OURS)
def test_kserve_knows_every_field(models, kserve, kind):
    manifest = kserve.one(kind)
    group, version = manifest["apiVersion"].split("/")
    assert group == "serving.kserve.io" and OURS[kind].lower().startswith(version)
    assert wrong(models, manifest) == []


@pytest.mark.parametrize(
    ("kind", "path", "value", "says"),
    [
        ("InferenceService", "spec.predictor.models", {}, "InferenceService.spec.predictor knows no models"),
        ("InferenceService", "spec.predictor.model.modelFormat", None, "predictor.model has no modelFormat"),
        ("InferenceService", "spec.predictor.minReplicas", "2", "minReplicas is no int"),
        ("InferenceService", "spec.predictor.labels", {"a": True}, "labels.a is no str"),
        ("ServingRuntime", "spec.containers", None, "ServingRuntime.spec has no containers"),
        ("ServingRuntime", "spec.protocolVersions", "v2", "protocolVersions is no list"),
        ("ServingRuntime", "spec.supportedModelFormats.0.nme", "ddgan", "supportedModelFormats[0] knows no nme"),
        ("ServingRuntime", "spec.multiModel", "no", "multiModel is no bool"),
    ],
)
def test_what_kserve_does_not_know_is_found(models, kserve, kind, path, value, says):
    (line,) = wrong(models, changed(kserve.one(kind), path, value))
    assert line.endswith(says)


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_the_rest_is_valid_for_kubernetes(kserve, version):
    others = [manifest for manifest in kserve.manifests if manifest["kind"] not in OURS]
    kinds = {manifest["kind"] for manifest in others}
    assert kinds == {
        *("Namespace", "ServiceAccount", "ConfigMap", "PodDisruptionBudget", "HorizontalPodAutoscaler"),
        "NetworkPolicy",
    }
    for manifest in [*others, pod(kserve)]:
        assert kubernetes_validate.validate(manifest, version, strict=True) == version


def test_the_service_names_the_runtime(kserve):
    runtime, service = kserve.one("ServingRuntime"), kserve.one("InferenceService")
    model = service["spec"]["predictor"]["model"]
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["modelFormat"]["name"] in [each["name"] for each in runtime["spec"]["supportedModelFormats"]]
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]
    assert service["metadata"]["name"] == MODEL


def test_the_pod_is_the_bases(kserve):
    """But for the folder of the repository, which KServe mounts, and the names that are KServe's."""
    deployment = yaml.safe_load((KUBERNETES / "base" / "deployment.yaml").read_text())["spec"]
    cores = yaml.safe_load((KUBERNETES / "overlays" / "cpu" / "deployment.yaml").read_text())["spec"]
    spec = deployment["template"]["spec"]
    (server,) = spec["containers"]
    server["name"] = "kserve-container"
    server["args"] = [argument.replace("=/models", f"={MOUNTED}") for argument in server["args"]]
    server["resources"] = cores["template"]["spec"]["containers"][0]["resources"]
    made = copy.deepcopy(pod(kserve)["spec"])
    (container,) = made["containers"]
    # These get their full names from the kustomization.
    container["image"] = server["image"]
    container["envFrom"] = server["envFrom"]
    assert made == spec
    assert kserve.one("InferenceService")["spec"]["predictor"]["deploymentStrategy"] == deployment["strategy"]


def test_the_settings_are_the_bases(kserve):
    (container,) = pod(kserve)["spec"]["containers"]
    (source,) = container["envFrom"]
    settings = kserve.one("ConfigMap", source["configMapRef"]["name"])["data"]
    assert {
        line.split("=")[0]
        for line in (KUBERNETES / "base" / "server.env").read_text().splitlines()
        if not line.startswith("#")
    } == settings.keys()
    assert container["image"] == "registry.example.com/ddgan-deploy:0.1.0-cpu"


def test_the_policies_and_the_budget_select_the_pods(kserve):
    labels = pod(kserve)["metadata"]["labels"]
    selectors = [policy["spec"]["podSelector"]["matchLabels"] for policy in kserve.all("NetworkPolicy")]
    selectors.append(kserve.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"])
    assert len(selectors) == 3
    for selector in selectors:
        assert selector.items() <= labels.items()


def test_the_autoscaler_scales_what_kserve_makes(kserve):
    service = kserve.one("InferenceService")
    annotations = service["metadata"]["annotations"]
    assert annotations["serving.kserve.io/deploymentMode"] == "Standard"
    assert annotations["serving.kserve.io/autoscalerClass"] == "external"
    target = kserve.one("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", f"{service['metadata']['name']}-predictor")


def test_the_repository_is_the_volumes(kserve):
    uri = kserve.one("InferenceService")["spec"]["predictor"]["model"]["storageUri"]
    (claim,) = [each for each in kustomize(KUBERNETES / "volume") if each["kind"] == "PersistentVolumeClaim"]
    patch = yaml.safe_load((KUBERNETES / "components" / "repository-volume" / "deployment.yaml").read_text())
    (mount,) = patch["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert uri == f"pvc://{claim['metadata']['name']}/{mount['subPath']}"
