"""The run of ddgan-bulk on a cluster that KubeRay makes: valid, and each part agrees with the others and with us."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

import ddgan_deploy
from ddgan_deploy.cli import bulk
from tests.deploy.conftest import DEPLOY, KUBERNETES, Built, Manifest, kustomize
from tests.deploy.kuberay import LONGEST_NAME, MODELS, OWN_LABELS, SUBMISSION_MODES
from tests.deploy.resources import changed, wrong

ROOT = DEPLOY.parent
RAY = DEPLOY / "ray"
NAME = "ddgan-bulk"


@pytest.fixture(scope="module", params=["cpu", "gpu"])
def ray(request: pytest.FixtureRequest) -> Built:
    return Built(request.param, kustomize(RAY / request.param))


def job(ray: Built) -> Manifest:
    return ray.one("RayJob", NAME)


def groups(ray: Built) -> tuple[Manifest, Manifest]:
    """The head's and the workers' group."""
    cluster = job(ray)["spec"]["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    return cluster["headGroupSpec"], workers


def container(group: Manifest) -> Manifest:
    (found,) = group["template"]["spec"]["containers"]
    return found


def mounts(group: Manifest) -> dict[str, Manifest]:
    """Path -> the mount and its volume, as one."""
    volumes = {volume["name"]: volume for volume in group["template"]["spec"]["volumes"]}
    mounted = {mount["mountPath"]: volumes.pop(mount["name"]) | mount for mount in container(group)["volumeMounts"]}
    assert volumes == {}
    return mounted


def test_kuberay_knows_every_field(ray):
    manifest = job(ray)
    assert manifest["apiVersion"] == "ray.io/v1"
    assert wrong(MODELS, manifest, "RayJob", "RayJob") == []
    assert manifest["spec"]["submissionMode"] in SUBMISSION_MODES
    assert len(manifest["metadata"]["name"]) <= LONGEST_NAME


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("spec.backofLimit", 3, "RayJob.spec knows no backofLimit"),
        ("spec.backoffLimit", "3", "backoffLimit is no int"),
        ("spec.shutdownAfterJobFinishes", 1, "shutdownAfterJobFinishes is no bool"),
        ("spec.rayClusterSpec.headGroupSpec", None, "rayClusterSpec has no headGroupSpec"),
        ("spec.rayClusterSpec.headGroupSpec.rayStartParams.num-cpus", 0, "rayStartParams.num-cpus is no str"),
        ("spec.rayClusterSpec.workerGroupSpecs.0.maxReplicas", None, "workerGroupSpecs[0] has no maxReplicas"),
    ],
)
def test_what_kuberay_does_not_know_is_found(ray, path, value, says):
    (line,) = wrong(MODELS, changed(job(ray), path, value), "RayJob", "RayJob")
    assert line.endswith(says)


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_the_rest_is_valid_for_kubernetes(ray, version):
    others = [manifest for manifest in ray.manifests if manifest["kind"] != "RayJob"]
    assert {manifest["kind"] for manifest in others} == {"Namespace", "ServiceAccount", "NetworkPolicy"}
    pods = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"} | group["template"]["metadata"]}
        | {"spec": group["template"]["spec"]}
        for group in groups(ray)
    ]
    for manifest in [*others, *pods, *kustomize(RAY / "volume")]:
        assert kubernetes_validate.validate(manifest, version, strict=True) == version


# The run


def options(ray: Built) -> Any:
    """What ddgan-bulk understands from the entry point."""
    command, *arguments = shlex.split(job(ray)["spec"]["entrypoint"])
    assert command == "ddgan-bulk"
    args = bulk._parser().parse_args(arguments)
    bulk._options(args)
    return args


def test_ddgan_bulk_takes_the_entry_point(ray):
    args = options(ray)
    assert args.ray == "auto"
    bulk._hire(args)


def test_the_run_reads_and_writes_what_is_mounted(ray):
    args = options(ray)
    head, workers = (mounts(group) for group in groups(ray))
    artifact = head[str(args.artifact)]
    assert artifact["readOnly"] is True and artifact["persistentVolumeClaim"]["readOnly"] is True
    # Workers write there themselves, and get the artifact from Ray.
    assert args.shared_out and str(args.artifact) not in workers
    out = str(args.out)
    assert head[out] == workers[out] and not head[out].get("readOnly")
    claims = {
        manifest["metadata"]["name"]: manifest["spec"]["accessModes"]
        for folder in (RAY / "volume", KUBERNETES / "volume")
        for manifest in kustomize(folder)
        if manifest["kind"] == "PersistentVolumeClaim"
    }
    assert claims[artifact["persistentVolumeClaim"]["claimName"]]
    assert claims[head[out]["persistentVolumeClaim"]["claimName"]] == ["ReadWriteMany"]


def test_a_failed_run_goes_on_and_leaves_no_cluster(ray):
    spec = job(ray)["spec"]
    assert options(ray).resume and spec["backoffLimit"] > 0
    assert spec["shutdownAfterJobFinishes"] is True and spec["ttlSecondsAfterFinished"] > 0


# The cluster


def test_the_version_is_the_images(ray):
    (pinned,) = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("ray==")]
    assert pinned == f"ray=={job(ray)['spec']['rayClusterSpec']['rayVersion']}"


def test_the_image(ray):
    """Built with the extra that has Ray's dashboard, which KubeRay asks; the Dockerfile says how."""
    head, workers = groups(ray)
    image = container(head)["image"]
    assert image == container(workers)["image"]
    assert image.endswith(f":{ddgan_deploy.__version__}-{ray.name}-ray")
    built = f"EXTRA=gpu,kuberay -t ddgan-deploy:{ddgan_deploy.__version__}-gpu-ray"
    assert built in (DEPLOY / "Dockerfile").read_text()
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["kuberay"]
    assert {one.partition(">=")[0] for one in extra} == {"ddgan-deploy[bulk]", "ray[default]"}


def test_the_head_draws_nothing(ray):
    head, workers = groups(ray)
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert "num-cpus" not in workers["rayStartParams"]


def test_no_worker_comes_later(ray):
    """ddgan-bulk counts them as it begins."""
    _, workers = groups(ray)
    assert workers["replicas"] == workers["minReplicas"] == workers["maxReplicas"] > 0
    assert "enableInTreeAutoscaling" not in job(ray)["spec"]["rayClusterSpec"]


def test_gpu(ray):
    head, workers = groups(ray)
    assert "nvidia.com/gpu" not in container(head)["resources"]["limits"]
    assert container(workers)["resources"]["limits"].get("nvidia.com/gpu", 0) == (1 if ray.name == "gpu" else 0)
    tolerated = [one["key"] for one in workers["template"]["spec"].get("tolerations", [])]
    assert tolerated == (["nvidia.com/gpu"] if ray.name == "gpu" else [])


# Rights


@pytest.mark.parametrize("index", [0, 1], ids=["head", "workers"])
def test_a_pod_is_as_locked_down_as_the_servers(ray, index):
    spec = groups(ray)[index]["template"]["spec"]
    server = yaml.safe_load((KUBERNETES / "base" / "deployment.yaml").read_text())["spec"]["template"]["spec"]
    for key in ("securityContext", "automountServiceAccountToken", "enableServiceLinks"):
        assert spec[key] == server[key]
    (one,) = spec["containers"]
    assert one["securityContext"] == server["containers"][0]["securityContext"]
    assert one["resources"]["requests"] == one["resources"]["limits"]
    assert spec["serviceAccountName"] == ray.one("ServiceAccount", NAME)["metadata"]["name"]
    assert ray.one("ServiceAccount", NAME)["automountServiceAccountToken"] is False


def test_a_pod_can_write_where_ray_must(ray):
    for group in groups(ray):
        mounted = mounts(group)
        assert mounted["/dev/shm"]["emptyDir"]["medium"] == "Memory"
        assert all("sizeLimit" in mounted[path]["emptyDir"] for path in ("/dev/shm", "/tmp"))


def test_nobody_is_told(ray):
    for group in groups(ray):
        variables = {item["name"]: item["value"] for item in container(group)["env"]}
        assert variables == {"RAY_USAGE_STATS_ENABLED": "0", "ORT_DISABLE_TELEMETRY": "1"}


def test_only_its_own_pods_and_kuberay_reach_the_cluster(ray):
    policy = ray.one("NetworkPolicy", NAME)["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    selected = policy["podSelector"]["matchLabels"]
    for group in groups(ray):
        assert selected.items() <= group["template"]["metadata"]["labels"].items()
    own, operator = policy["ingress"]
    assert own == {"from": [{"podSelector": {"matchLabels": selected}}]}
    (port,) = operator["ports"]
    head = {each["name"]: each["containerPort"] for each in container(groups(ray)[0])["ports"]}
    assert head[port["port"]] == 8265
    out, names = policy["egress"]
    assert out == {"to": [{"podSelector": {"matchLabels": selected}}]}
    assert {each["port"] for each in names["ports"]} == {53}


def test_the_heads_service_finds_its_pod(ray):
    """KubeRay leaves a label that is there as it is."""
    head, _ = groups(ray)
    assert not OWN_LABELS & head["template"]["metadata"]["labels"].keys()


def test_a_run_is_no_server(ray):
    """Else the services would send it requests, and the server's policy hold for it."""
    service = yaml.safe_load((KUBERNETES / "base" / "service.yaml").read_text())["spec"]["selector"]
    for group in groups(ray):
        assert not service.items() <= group["template"]["metadata"]["labels"].items()


def test_labels(ray):
    for manifest in ray.manifests:
        labels = manifest["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "ddgan-deploy", manifest["kind"]
        assert labels["app.kubernetes.io/version"] == ddgan_deploy.__version__
        assert manifest["kind"] == "Namespace" or manifest["metadata"]["namespace"] == "ddgan"


def test_every_file_is_used():
    def named(kustomization: Path) -> set[Path]:
        content = yaml.safe_load(kustomization.read_text())
        names = [*content["resources"], *(patch["path"] for patch in content.get("patches", []))]
        return {(kustomization.parent / name).resolve() for name in names}

    kustomizations = list(RAY.rglob("kustomization.yaml"))
    assert len(kustomizations) == 4
    files = {path for path in RAY.rglob("*") if path.is_file()} - set(kustomizations)
    assert files == {path for each in kustomizations for path in named(each) if path.is_file()}
