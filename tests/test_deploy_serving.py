"""Files that deploy a plan: they parse, and say the GPUs, replicas and flags of the plan."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from app import catalog
from app.calculations.errors import InvalidInput
from app.command_line.main import main
from app.deploy import containers
from app.deploy.launch_serving import LAUNCHERS, command
from app.deploy.platforms import deployment
from app.pages import plan as plan_page

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
    workload, service = documents(containers.kubernetes(inputs, plan()))
    assert (workload["kind"], workload["spec"]["replicas"], service["kind"]) == ("Deployment", 3, "Service")
    [container] = workload["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 4}
    for flag in command(containers.launcher_of(inputs, plan()), inputs, plan())[1]:
        assert flag.name in container["command"]
    port = container["ports"][0]["containerPort"]
    assert service["spec"]["ports"][0]["targetPort"] == port == int(container["command"][-1])
    assert service["spec"]["selector"] == workload["spec"]["template"]["metadata"]["labels"]
    assert container["startupProbe"]["failureThreshold"] * 10 >= 141  # 141 GB of weights at 1 GB/s
    assert {one["name"] for one in workload["spec"]["template"]["spec"]["volumes"]} == {"shm", "cache"}


@pytest.mark.parametrize(
    ("gpu", "resource", "image", "given"),
    [
        ("h100-sxm", "nvidia.com/gpu", "vllm/vllm-openai:", "device_ids"),
        ("mi300x", "amd.com/gpu", "rocm/vllm:", "/dev/kfd"),
        ("gaudi3", "habana.ai/gaudi", "vault.habana.ai/gaudi-docker/", "HABANA_VISIBLE_DEVICES"),
    ],
)
def test_image_and_accelerators_are_given_as_the_vendor_does(gpu: str, resource: str, image: str, given: str) -> None:
    [workload, _] = documents(containers.kubernetes(INPUTS, plan(gpu=gpu)))
    [container] = workload["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {resource: 4} and container["image"].startswith(image)
    text = containers.compose(INPUTS, plan(gpu=gpu))
    assert given in text and image in text and ("driver: nvidia" in text) == (gpu == "h100-sxm")
    assert given in str(containers.meanings("compose", text)) or given == "/dev/kfd"


@pytest.mark.parametrize("platform", [one.name for one in deployment().platforms])
def test_every_platform_names_launchers_and_accelerators_that_are_known(platform: str) -> None:
    [found] = [one for one in deployment().platforms if one.name == platform]
    assert found.images.keys() <= LAUNCHERS.keys() == deployment().ports.keys()
    known = catalog.gpus()
    assert set(found.gpus) <= known.keys() and (found.gpus or any(g.vendor == found.vendor for g in known.values()))


@pytest.mark.parametrize(("gpu", "engine"), [("tpu-v5e", "vllm"), ("mi300x", "trtllm"), ("nonesuch", "vllm")])
def test_where_no_image_is_known_that_is_said(gpu: str, engine: str) -> None:
    for form in containers.FORMS:
        with pytest.raises(InvalidInput, match=f"No image of {engine} for '{gpu}' is known") as refused:
            containers.file_of(form, INPUTS | {"engine": engine}, plan(gpu=gpu))
        assert refused.value.field == "launch" and "gaudi (vllm)" in refused.value.allowed
    shown = plan_page.deployments(INPUTS | {"engine": engine}, plan(gpu=gpu))
    assert shown["deployments"] == [] and gpu in shown["not_deployed"]


def test_the_command_line_shows_the_plan_and_then_why_there_is_no_file() -> None:
    asked = ["plan", "--model", "llama-3.1-8b", "--gpu", "tpu-v5e", "--concurrency", "4", "--launch", "compose"]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 2 and "Run " in done.stdout and "No image of vllm for 'tpu-v5e' is known" in done.stderr


@pytest.mark.parametrize("engine", LAUNCHERS)
def test_a_replica_larger_than_a_node_is_a_group_of_pods(engine: str) -> None:
    workload, service = documents(containers.kubernetes(INPUTS | {"engine": engine}, plan(gpus=16, replicas=2)))
    template = workload["spec"]["leaderWorkerTemplate"]
    assert (workload["kind"], workload["spec"]["replicas"], template["size"]) == ("LeaderWorkerSet", 2, 2)
    assert service["spec"]["selector"]["role"] == "leader"
    for part in ("leaderTemplate", "workerTemplate"):
        [container] = template[part]["spec"]["containers"]
        assert container["resources"]["limits"] == {"nvidia.com/gpu": 8}


def test_compose_gives_each_replica_of_a_machine_gpus_of_its_own() -> None:
    [found] = documents(containers.compose(INPUTS, plan(gpus=2, replicas=3)))
    devices = [
        one["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"] for one in found["services"].values()
    ]
    assert devices == [["0", "1"], ["2", "3"], ["4", "5"]]
    ports = [one["ports"][0].partition(":")[0] for one in found["services"].values()]
    assert len(set(ports)) == 3
    [small] = documents(containers.compose(INPUTS, plan(gpus=8, replicas=3)))
    assert list(small["services"]) == ["replica-1"]  # More do not fit on the machine.


@pytest.mark.parametrize("name", ["Org/Model_With.Dots-7B", "x" * 200, "Ünïcode/Mödel", "custom"])
def test_names_are_dns_labels(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", containers.name_of({"model": name}))


@pytest.mark.parametrize("form", containers.FORMS)
def test_what_is_explained_is_in_the_file(form: str) -> None:
    text = containers.file_of(form, INPUTS, plan())
    explained = containers.meanings(form, text)
    assert len(explained) >= 4 and all(name in text for name in explained)
