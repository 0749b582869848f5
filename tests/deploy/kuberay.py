"""KubeRay's RayJob, as its Go types state it; no package that we found holds its CRD.

From ray-operator/apis/ray/v1 of ray-project/kuberay: rayjob_types.go (commit f6ef3f7) and raycluster_types.go
(3275ee0), after KubeRay 1.3. Required is what has no omitempty, and what every manifest has. Kubernetes' own types,
such as PodTemplateSpec, are not looked into here.
"""

from __future__ import annotations

from tests.deploy.resources import Model

_STRINGS = "dict(str, str)"
MODELS = {
    "RayJob": Model(
        {"apiVersion": "str", "kind": "str", "metadata": "ObjectMeta", "spec": "RayJobSpec"},
        frozenset({"apiVersion", "kind", "metadata", "spec"}),
    ),
    "RayJobSpec": Model(
        {
            "activeDeadlineSeconds": "int",
            "backoffLimit": "int",
            "clusterSelector": _STRINGS,
            "deletionPolicy": "str",
            "entrypoint": "str",
            "entrypointNumCpus": "float32",
            "entrypointNumGpus": "float32",
            "entrypointResources": "str",
            "jobId": "str",
            "managedBy": "str",
            "metadata": _STRINGS,
            "rayClusterSpec": "RayClusterSpec",
            "runtimeEnvYAML": "str",
            "shutdownAfterJobFinishes": "bool",
            "submissionMode": "str",
            "submitterConfig": "SubmitterConfig",
            "submitterPodTemplate": "PodTemplateSpec",
            "suspend": "bool",
            "ttlSecondsAfterFinished": "int",
        }
    ),
    "RayClusterSpec": Model(
        {
            "autoscalerOptions": "AutoscalerOptions",
            "enableInTreeAutoscaling": "bool",
            "gcsFaultToleranceOptions": "GcsFaultToleranceOptions",
            "headGroupSpec": "HeadGroupSpec",
            "headServiceAnnotations": _STRINGS,
            "managedBy": "str",
            "rayVersion": "str",
            "suspend": "bool",
            "workerGroupSpecs": "list[WorkerGroupSpec]",
        },
        frozenset({"headGroupSpec"}),
    ),
    "HeadGroupSpec": Model(
        {
            "enableIngress": "bool",
            "headService": "Service",
            "rayStartParams": _STRINGS,
            "serviceType": "str",
            "template": "PodTemplateSpec",
        },
        frozenset({"rayStartParams", "template"}),
    ),
    "WorkerGroupSpec": Model(
        {
            "groupName": "str",
            "idleTimeoutSeconds": "int",
            "maxReplicas": "int",
            "minReplicas": "int",
            "numOfHosts": "int",
            "rayStartParams": _STRINGS,
            "replicas": "int",
            "scaleStrategy": "ScaleStrategy",
            "suspend": "bool",
            "template": "PodTemplateSpec",
        },
        frozenset({"groupName", "maxReplicas", "minReplicas", "rayStartParams", "template"}),
    ),
}
SUBMISSION_MODES = {"K8sJobMode", "HTTPMode", "InteractiveMode"}
OWN_LABELS = {"app.kubernetes.io/name", "app.kubernetes.io/created-by"}
"""Of a head's pod, by which its service selects it (service.go)."""
LONGEST_NAME = 47
"""Of a RayJob, whose cluster's and services' names are made of it (validation.go)."""
