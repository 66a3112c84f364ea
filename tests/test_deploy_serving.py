"""Files that deploy a plan: they parse, and say the GPUs, replicas and flags of the plan."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from app import deploy_serving
from app.launch_serving import LAUNCHERS, command

INPUTS = {"model": "meta-llama/Llama-3.1-70B-Instruct", "engine": "vllm", "input_tokens": 1000, "output_tokens": 300}


def plan(gpus: int = 4, replicas: int = 3, **changes: Any) -> dict[str, Any]:
    layout = {"tp": gpus, "pp": 1, "dp": 1, "ep": 1}
    return {
        "gpu": "h100-sxm", "gpus_per_replica": gpus, "replicas": replicas, "layout": layout, "weight_precision": "fp8",
        "kv_precision": "fp8", "requests_in_flight_per_replica": 40.0,
    } | changes  # fmt: skip


def documents(text: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text))


@pytest.mark.parametrize("engine", LAUNCHERS)
def test_a_deployment_has_the_replicas_gpus_and_flags_of_the_plan(engine: str) -> None:
    inputs = INPUTS | {"engine": engine}
    workload, service = documents(deploy_serving.kubernetes(inputs, plan()))
    assert (workload["kind"], workload["spec"]["replicas"], service["kind"]) == ("Deployment", 3, "Service")
    [container] = workload["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 4}
    for flag in command(deploy_serving.launcher_of(inputs, plan()), inputs, plan())[1]:
        assert flag.name in container["command"]
    port = container["ports"][0]["containerPort"]
    assert service["spec"]["ports"][0]["targetPort"] == port == int(container["command"][-1])
    assert service["spec"]["selector"] == workload["spec"]["template"]["metadata"]["labels"]
    assert container["startupProbe"]["failureThreshold"] * 10 >= 141  # 141 GB of weights at 1 GB/s
    assert {one["name"] for one in workload["spec"]["template"]["spec"]["volumes"]} == {"shm", "cache"}


def test_the_resource_is_that_of_the_vendor() -> None:
    [workload, _] = documents(deploy_serving.kubernetes(INPUTS, plan(gpu="mi300x")))
    assert "amd.com/gpu" in str(workload)


@pytest.mark.parametrize("engine", LAUNCHERS)
def test_a_replica_larger_than_a_node_is_a_group_of_pods(engine: str) -> None:
    workload, service = documents(deploy_serving.kubernetes(INPUTS | {"engine": engine}, plan(gpus=16, replicas=2)))
    template = workload["spec"]["leaderWorkerTemplate"]
    assert (workload["kind"], workload["spec"]["replicas"], template["size"]) == ("LeaderWorkerSet", 2, 2)
    assert service["spec"]["selector"]["role"] == "leader"
    for part in ("leaderTemplate", "workerTemplate"):
        [container] = template[part]["spec"]["containers"]
        assert container["resources"]["limits"] == {"nvidia.com/gpu": 8}


def test_compose_gives_each_replica_of_a_machine_gpus_of_its_own() -> None:
    [found] = documents(deploy_serving.compose(INPUTS, plan(gpus=2, replicas=3)))
    devices = [
        one["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"] for one in found["services"].values()
    ]
    assert devices == [["0", "1"], ["2", "3"], ["4", "5"]]
    ports = [one["ports"][0].partition(":")[0] for one in found["services"].values()]
    assert len(set(ports)) == 3
    [small] = documents(deploy_serving.compose(INPUTS, plan(gpus=8, replicas=3)))
    assert list(small["services"]) == ["replica-1"]  # More do not fit on the machine.


@pytest.mark.parametrize("name", ["Org/Model_With.Dots-7B", "x" * 200, "Ünïcode/Mödel", "custom"])
def test_names_are_dns_labels(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", deploy_serving.name_of({"model": name}))


@pytest.mark.parametrize("form", deploy_serving.FORMS)
def test_what_is_explained_is_in_the_file(form: str) -> None:
    text = deploy_serving.file_of(form, INPUTS, plan())
    explained = deploy_serving.meanings(form, text)
    assert len(explained) >= 4 and all(name in text for name in explained)
