"""What kustomize builds has no more rights than it needs, and the server offers no more than it must."""

from __future__ import annotations

from pathlib import Path

from ddgan_deploy.serving.server.launch import command_line
from ddgan_deploy.serving.server.tritonserver import TritonServer
from tests.deploy.conftest import KUBERNETES, Manifest, kustomize, served_with


def test_the_server_is_locked_down(built):
    flags = command_line(TritonServer(Path("tritonserver")), served_with(built), "")
    once = {"model-control-mode": "none", "strict-readiness": "true", "trace-config": "level=OFF"}
    once |= {"allow-sagemaker": "false", "allow-vertex-ai": "false"}
    for restriction in ("http-restricted-api", "grpc-restricted-protocol"):
        # An API that is restricted twice keeps the server from starting.
        once[restriction] = "model-repository,shared-memory,trace,logging:admin=metadata.uid"
    for name, value in once.items():
        assert [flag for flag in flags if flag.startswith(f"--{name}=")] == [f"--{name}={value}"]
    assert "--disable-auto-complete-config" in flags


def _containers(pod: Manifest) -> list[Manifest]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def _check_least_privilege(pod: Manifest) -> None:
    spec = pod["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True and spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in _containers(pod):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"] == container["resources"]["requests"]
        assert not container["image"].endswith(":latest") and ":" in container["image"]


def test_least_privilege(built):
    _check_least_privilege(built.pod)
    assert built.one("ServiceAccount")["automountServiceAccountToken"] is False
    assert built.pod["spec"]["serviceAccountName"] == built.one("ServiceAccount")["metadata"]["name"]
    assert built.one("Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert not {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "Secret"} & {
        manifest["kind"] for manifest in built.manifests
    }


def test_least_privilege_of_the_loader():
    (loader,) = [manifest for manifest in kustomize(KUBERNETES / "volume") if manifest["kind"] == "Pod"]
    _check_least_privilege(loader)


def test_the_server_can_write_where_it_must(built):
    """The root is read-only: /tmp, and shared memory for the python backend."""
    volumes = {volume["name"]: volume for volume in built.pod["spec"]["volumes"]}
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in built.server["volumeMounts"]}
    assert mounts.keys() == {"/models", "/tmp", "/dev/shm"}
    assert mounts["/dev/shm"]["emptyDir"]["medium"] == "Memory"
    assert all("sizeLimit" in mounts[path]["emptyDir"] for path in ("/dev/shm", "/tmp"))


def test_the_network_is_closed(built):
    policy = built.one("NetworkPolicy")["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"} and policy["egress"] == []
    allowed = {port["port"]: rule["from"] for rule in policy["ingress"] for port in rule["ports"]}
    clients = [{"podSelector": {"matchLabels": {"ddgan-deploy/client": "true"}}}]
    assert allowed["http"] == allowed["grpc"] == clients
    assert allowed["metrics"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    others = [other for other in built.all("NetworkPolicy") if other["metadata"]["name"] != "ddgan"]
    assert bool(others) == bool(built.pod["spec"].get("initContainers"))
    for other in others:
        assert other["spec"]["policyTypes"] == ["Egress"] and "ingress" not in other["spec"]
        assert {port["port"] for rule in other["spec"]["egress"] for port in rule["ports"]} == {53, 443}
        assert all(rule.get("to") for rule in other["spec"]["egress"])
