"""What deploys a plan: a Kubernetes manifest and a docker compose file, each with what its lines are for.

Images and resources: app/data/deployment.toml. GPUs of pods: kubernetes.io/docs/tasks/manage-gpus; of compose files:
docs.docker.com ("GPU support"), rocm.docs.amd.com ("vLLM inference"), docs.habana.ai ("vLLM Quick Start Guide"); nodes
of a replica that spans several: lws.sigs.k8s.io (LeaderWorkerSet).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

import yaml

from app import catalog
from app.deploy.launch_serving import LAUNCHERS, command
from app.deploy.platforms import deployment, image_of

#: Form -> its label.
FORMS = {"kubernetes": "Kubernetes", "compose": "Docker Compose"}
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - a mount of the container
#: What lines of a manifest are for.
MEANINGS = {
    "replicas": "copies of the model, spare ones too",
    "limits": "GPUs of one replica: a pod gets them all on one node",
    "shm": "shared memory in which the processes of a replica exchange tensors (NCCL)",
    "startupProbe": "time to load the weights before the other probes count",
    "readinessProbe": "no request until the engine answers, none while it does not",
    "cache": "weights stay on the node when a pod starts anew",
    "token": "secret with the token of gated models: kubectl create secret generic hugging-face",
    "leaderWorkerTemplate": "a replica spans several nodes; the leader answers, workers join it (LeaderWorkerSet)",
}

COMPOSE_MEANINGS = {
    "device_ids": "GPUs of this replica; no two share one",
    "HIP_VISIBLE_DEVICES": "GPUs of this replica; no two share one",
    "HABANA_VISIBLE_DEVICES": "accelerators of this replica; no two share one",
    "shm_size": MEANINGS["shm"],
    "ports": "each replica listens at a port of its own: put a load balancer in front",
    "volumes": MEANINGS["cache"],
}


def launcher_of(inputs: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    """The launcher of the plan's engine, vLLM for one that has none."""
    engines = catalog.engines()
    name = str(plan.get("engine") or inputs.get("engine"))
    family = engines[name].family if name in engines else ""
    return family if family in LAUNCHERS else "vllm"


def node_gpus(plan: Mapping[str, Any]) -> int:
    """GPUs of a node of the reference system."""
    return catalog.hardware().node_gpus


def name_of(inputs: Mapping[str, Any]) -> str:
    """A DNS label: the model's name in lower case."""
    label = re.sub(r"[^a-z0-9]+", "-", str(inputs["model"]).rpartition("/")[2].lower()).strip("-")
    return label[:50].strip("-") or "model"


def words_of(launcher: str, inputs: Mapping[str, Any], plan: Mapping[str, Any]) -> list[str]:
    start, flags = command(launcher, inputs, plan)
    port = deployment().ports[launcher]
    listening = ["--host", "0.0.0.0", "--port", str(port)]  # noqa: S104 - inside of a container
    return [*shlex.split(start), *(word for flag in flags for word in shlex.split(str(flag))), *listening]


def container(launcher: str, inputs: Mapping[str, Any], plan: Mapping[str, Any], gpus: int) -> dict[str, Any]:
    (platform, image), port = image_of(launcher, plan["gpu"]), deployment().ports[launcher]
    probe = {"httpGet": {"path": "/health", "port": port}, "periodSeconds": 10}
    loading = max(
        deployment().least_loading_seconds, round(weight_gb(inputs, plan) * deployment().loading_seconds_per_gb)
    )
    return {
        "name": launcher,
        "image": image,
        "command": words_of(launcher, inputs, plan),
        "ports": [{"containerPort": port, "name": "http"}],
        "env": [
            {
                "name": "HF_TOKEN",
                "valueFrom": {"secretKeyRef": {"name": "hugging-face", "key": "token", "optional": True}},
            }
        ],
        "resources": {"limits": {platform.resource: gpus}},
        "startupProbe": probe | {"failureThreshold": -(-loading // 10)},
        "readinessProbe": probe | {"failureThreshold": 3},
        "volumeMounts": [{"name": "shm", "mountPath": SHARED_MEMORY}, {"name": "cache", "mountPath": "/root/.cache"}],
    }  # fmt: skip


def weight_gb(inputs: Mapping[str, Any], plan: Mapping[str, Any]) -> float:
    """Weights of a copy in GB, at two bytes a parameter: what is loaded is not larger."""
    return catalog.model(inputs["model"]).total_params * 2 / 1e9


def volumes() -> list[dict[str, Any]]:
    return [
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": f"{deployment().shared_memory_gib}Gi"}},
        {"name": "cache", "hostPath": {"path": "/var/cache/models", "type": "DirectoryOrCreate"}},
    ]


def kubernetes(inputs: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    """A workload and its service. A replica larger than a node is a group of pods (LeaderWorkerSet)."""
    launcher, name = launcher_of(inputs, plan), name_of(inputs)
    labels = {"app.kubernetes.io/name": name}
    gpus, node = plan["gpus_per_replica"], node_gpus(plan)
    port = deployment().ports[launcher]
    if gpus <= node:
        pod = {
            "metadata": {"labels": labels},
            "spec": {"containers": [container(launcher, inputs, plan, gpus)], "volumes": volumes()},
        }
        workload: dict[str, Any] = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "labels": labels},
            "spec": {"replicas": plan["replicas"], "selector": {"matchLabels": labels}, "template": pod},
        }
    else:
        spec = {"containers": [container(launcher, inputs, plan, node)], "volumes": volumes()}
        leader = {"metadata": {"labels": labels | {"role": "leader"}}, "spec": spec}
        worker = {"spec": {"containers": [joined(launcher, inputs, plan, node)], "volumes": volumes()}}
        workload = {
            "apiVersion": "leaderworkerset.x-k8s.io/v1",
            "kind": "LeaderWorkerSet",
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "replicas": plan["replicas"],
                "leaderWorkerTemplate": {
                    "size": -(-gpus // node),
                    "restartPolicy": "RecreateGroupOnPodRestart",
                    "leaderTemplate": leader,
                    "workerTemplate": worker,
                },
            },
        }
        labels = labels | {"role": "leader"}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": port}]},
    }
    return written(workload, service)


def joined(launcher: str, inputs: Mapping[str, Any], plan: Mapping[str, Any], gpus: int) -> dict[str, Any]:
    """A worker of a replica that spans nodes: it joins the leader and answers nobody."""
    found = container(launcher, inputs, plan, gpus)
    own = {
        "vllm": ["sh", "-c", "ray start --address=$LWS_LEADER_ADDRESS:6379 --block"],
        "sglang": [
            "sh", "-c",
            shlex.join(found["command"]) + " --nnodes $LWS_GROUP_SIZE --node-rank $LWS_WORKER_INDEX"
            " --dist-init-addr $LWS_LEADER_ADDRESS:20000",
        ],
        "trtllm": ["sh", "-c", "exec /usr/sbin/sshd -D -p 2222"],
    }[launcher]  # fmt: skip
    kept = ("name", "image", "env", "resources", "volumeMounts")
    return {name: found[name] for name in kept} | {"command": own}


def compose(inputs: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    """One service for each replica of a machine, each with GPUs of its own."""
    launcher = launcher_of(inputs, plan)
    (platform, image), port = image_of(launcher, plan["gpu"]), deployment().ports[launcher]
    gpus, node = plan["gpus_per_replica"], node_gpus(plan)
    here = max(1, min(plan["replicas"], node // gpus if gpus <= node else 1))
    services = {}
    for number in range(here):
        devices = [str(number * gpus + one) for one in range(min(gpus, node))]
        listed = ",".join(devices)
        reserved = {"driver": "nvidia", "device_ids": devices, "capabilities": ["gpu"]}
        given: dict[str, dict[str, Any]] = {
            "nvidia": {"deploy": {"resources": {"reservations": {"devices": [reserved]}}}},
            "amd": {"devices": ["/dev/kfd", "/dev/dri"], "group_add": ["video"]},
            "gaudi": {"runtime": "habana", "cap_add": ["SYS_NICE"]},
        }
        seen = {"amd": {"HIP_VISIBLE_DEVICES": listed}, "gaudi": {"HABANA_VISIBLE_DEVICES": listed}}
        services[f"replica-{number + 1}"] = {
            "image": image,
            "entrypoint": words_of(launcher, inputs, plan),
            "ports": [f"{8000 + number}:{port}"],
            "environment": {"HF_TOKEN": "${HF_TOKEN:-}"} | seen.get(platform.name, {}),
            "shm_size": f"{deployment().shared_memory_gib}gb",
            "volumes": ["models:/root/.cache"],
            "restart": "unless-stopped",
        } | given[platform.name]
    return written({"services": services, "volumes": {"models": {}}})


def written(*documents: Mapping[str, Any]) -> str:
    return yaml.safe_dump_all(documents, sort_keys=False, width=100)


def file_of(form: str, inputs: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    return {"kubernetes": kubernetes, "compose": compose}[form](inputs, plan)


def meanings(form: str, text: str) -> dict[str, str]:
    """Line of a file -> what it is for."""
    known = COMPOSE_MEANINGS if form == "compose" else MEANINGS
    return {name: meaning for name, meaning in known.items() if name in text}
