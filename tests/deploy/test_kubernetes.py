"""What kustomize builds: valid for Kubernetes, and each part agrees with the others and with the server."""

from __future__ import annotations

import re

import kubernetes_validate
import pytest
import yaml

import ddgan_deploy
from ddgan_deploy.serving import MODEL
from ddgan_deploy.serving.server.command_line import EXIT_TIMEOUT
from tests.deploy.conftest import KUBERNETES, Built, Manifest, kustomize, served_with

OLDEST, NEWEST = "1.30", "1.37"
"""Kubernetes' versions; from the older one on the sleep of preStop needs no feature gate."""
CUSTOM_RESOURCES = {"PodMonitor"}
"""Kinds that Kubernetes itself has no schema for."""


def _validate(manifests: list[Manifest], version: str) -> None:
    for manifest in manifests:
        if manifest["kind"] not in CUSTOM_RESOURCES:
            assert kubernetes_validate.validate(manifest, version, strict=True) == version


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_valid(built, version):
    assert len(built.manifests) > 8
    _validate(built.manifests, version)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_the_volume_and_its_loader_are_valid(version):
    manifests = kustomize(KUBERNETES / "volume")
    assert {manifest["kind"] for manifest in manifests} == {"Namespace", "PersistentVolumeClaim", "Pod"}
    _validate(manifests, version)


def test_a_wrong_manifest_is_not_valid(built):
    wrong = {**built.one("Deployment"), "specs": {}}
    with pytest.raises(kubernetes_validate.ValidationError, match="specs"):
        _validate([wrong], NEWEST)


def test_labels(built):
    for manifest in built.manifests:
        labels = manifest["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "ddgan-deploy", manifest["kind"]
        assert labels["app.kubernetes.io/version"] == ddgan_deploy.__version__
    for manifest in built.manifests:
        assert manifest["kind"] == "Namespace" or manifest["metadata"]["namespace"] == "ddgan"


def _selects(selector: Manifest, labels: Manifest) -> bool:
    return selector.items() <= labels.items()


def test_every_selector_selects_the_pods(built):
    selectors = [built.one("Deployment")["spec"]["selector"]["matchLabels"]]
    selectors += [service["spec"]["selector"] for service in built.all("Service")]
    selectors += [policy["spec"]["podSelector"]["matchLabels"] for policy in built.all("NetworkPolicy")]
    selectors += [built.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"]]
    selectors += [monitor["spec"]["selector"]["matchLabels"] for monitor in built.all("PodMonitor")]
    spread = built.pod["spec"]["topologySpreadConstraints"]
    selectors += [constraint["labelSelector"]["matchLabels"] for constraint in spread]
    assert len(selectors) >= 7
    for selector in selectors:
        assert selector and _selects(selector, built.pod["metadata"]["labels"]), selector


def test_the_loader_is_no_server(built):
    """Else the service would send it requests."""
    (loader,) = [manifest for manifest in kustomize(KUBERNETES / "volume") if manifest["kind"] == "Pod"]
    assert not _selects(built.one("Service")["spec"]["selector"], loader["metadata"]["labels"])


# Ports


def _ports(built: Built) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in built.server["ports"]}


def test_every_named_port_is_the_containers(built):
    ports = _ports(built)
    for service in built.all("Service"):
        for port in service["spec"]["ports"]:
            assert port["port"] == ports[port["targetPort"]] and port["name"] == port["targetPort"]
    for policy in built.all("NetworkPolicy"):
        for rule in policy["spec"].get("ingress", []):
            assert {port["port"] for port in rule["ports"]} <= ports.keys()
    for monitor in built.all("PodMonitor"):
        assert {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]} == {"metrics"}
    for probe in ("startupProbe", "readinessProbe"):
        assert ports[built.server[probe]["httpGet"]["port"]] == ports["http"]
    assert built.server["livenessProbe"]["exec"]["command"][-1] == f"http://127.0.0.1:{ports['http']}"


def test_metrics_are_in_no_service(built):
    offered = {port["targetPort"] for service in built.all("Service") for port in service["spec"]["ports"]}
    assert offered == {"http", "grpc"}


# The server


def test_ddgan_serve_takes_the_arguments(built):
    options = served_with(built)
    ports = _ports(built)
    assert (options.http_port, options.grpc_port, options.metrics_port) == tuple(
        ports[name] for name in ("http", "grpc", "metrics")
    )
    assert options.host == "0.0.0.0"
    mounts = {mount["mountPath"]: mount for mount in built.server["volumeMounts"]}
    assert mounts[str(options.repository)]["readOnly"] is True


def test_no_variable_is_unused(built):
    """A setting that does nothing misleads."""
    used = set(re.findall(r"\$\((\w+)\)", " ".join(built.server["args"])))
    (source,) = built.server["envFrom"]
    offered = set(built.one("ConfigMap", source["configMapRef"]["name"])["data"])
    assert used - {"POD_UID"} == offered


# Life and death


def test_probes(built):
    for probe in ("startupProbe", "readinessProbe"):
        assert built.server[probe]["httpGet"]["path"] == f"/v2/models/{MODEL}/ready"
    liveness = built.server["livenessProbe"]
    assert liveness["exec"]["command"][1] == "/opt/ddgan/alive.py"
    assert "/opt/ddgan/alive.py" in (KUBERNETES.parent / "Dockerfile").read_text()
    assert liveness["failureThreshold"] > 1


def test_answers_under_way_arrive_before_the_pod_is_killed(built):
    asleep = built.server["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert asleep >= 5
    assert built.pod["spec"]["terminationGracePeriodSeconds"] >= asleep + EXIT_TIMEOUT + 10


def test_a_rollout_takes_no_pod_away_first(built):
    assert built.one("Deployment")["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_disruptions_leave_a_pod(built):
    scaler, budget = built.one("HorizontalPodAutoscaler"), built.one("PodDisruptionBudget")
    assert scaler["spec"]["minReplicas"] > budget["spec"]["maxUnavailable"]


# Scaling


def test_the_autoscaler_reads_the_adapters_metric(built):
    (rule,) = yaml.safe_load((KUBERNETES / "prometheus-adapter" / "values.yaml").read_text())["rules"]["custom"]
    scaler = built.one("HorizontalPodAutoscaler")["spec"]
    (metric,) = scaler["metrics"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
    assert scaler["scaleTargetRef"]["name"] == built.one("Deployment")["metadata"]["name"]
    assert "replicas" not in built.one("Deployment")["spec"]
    down, up = scaler["behavior"]["scaleDown"], scaler["behavior"]["scaleUp"]
    assert down["stabilizationWindowSeconds"] > up["stabilizationWindowSeconds"]


def test_the_adapters_metric_is_the_engines_queue():
    (rule,) = yaml.safe_load((KUBERNETES / "prometheus-adapter" / "values.yaml").read_text())["rules"]["custom"]
    assert rule["seriesQuery"].startswith(f'nv_inference_queue_duration_us{{model="{MODEL}"')
    series = re.findall(r"rate\((.+?)\{<<\.LabelMatchers>>,model=\"(\w+)\"\}\[1m\]\)", rule["metricsQuery"])
    assert [name for name, _ in series] == [
        "<<.Series>>",
        "nv_inference_request_success",
        "nv_cache_num_hits_per_model",
        "nv_inference_request_success",
    ]
    assert {model for _, model in series} == {MODEL}
    assert rule["metricsQuery"].count("(") == rule["metricsQuery"].count(")")


def test_the_bucket_is_copied_to_where_the_server_reads(built):
    for container in built.pod["spec"].get("initContainers", []):
        sources = [source["configMapRef"]["name"] for source in container["envFrom"] if "configMapRef" in source]
        variables = built.one("ConfigMap", *sources)["data"]
        assert variables["REPOSITORY"].startswith("store:") and variables["RCLONE_CONFIG_STORE_TYPE"] == "s3"
        assert container["args"][:3] == ["sync", "$(REPOSITORY)", str(served_with(built).repository)]
        (mount,) = container["volumeMounts"]
        assert {**mount, "readOnly": True} in built.server["volumeMounts"]


def test_gpu(built):
    wanted = built.server["resources"]["limits"].get("nvidia.com/gpu", 0)
    assert wanted == (1 if built.name.startswith("gpu") else 0)
    assert built.server["image"].endswith(f"-{built.name[:3]}")
