"""A training plan as launchers read it: every choice made, processes on nodes, and how a launcher says what it lacks.

Each choice of a plan becomes a flag, a comment line (what the launcher does instead), or a refusal: none is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from app.calculations.errors import InvalidInput
from app.calculations.training.states import StateFormats
from app.training_scenarios import TRAINING_INPUTS, optimizer_of, recipe_of

NODE_GPUS = 8
#: Bytes of an element -> its name in launchers.
FORMATS = {4.0: "fp32", 2.0: "bf16", 1.0: "fp8"}
PORT = 29500
Plan = Mapping[str, Any]


def plan_of(inputs: Mapping[str, Any], results: Mapping[str, Any]) -> Plan:
    """Logged inputs and the layout that was found, with the run's length in steps. None: not given."""
    run, step_seconds = results["run"], results["step_time_s"]["value"]
    return {
        **dict.fromkeys(TRAINING_INPUTS),
        **inputs,
        **results["layout"],
        "hsdp_gpus": inputs.get("hsdp_gpus") or NODE_GPUS,
        "steps": run["steps"],
        "checkpoint_steps": max(round(run["checkpoint_interval_s"] / step_seconds), 1),
    }


@dataclass(frozen=True, slots=True)
class States:
    """Formats of what is kept per parameter. `master`: FP32 weights that the optimizer updates."""

    master: bool
    gradient: str
    moment: str
    #: FP32 gradients of the optimizer's shard beside 16-bit ones.
    shard_gradient: bool


def states(plan: Plan) -> States:
    """What "auto" means for the plan's framework, and what was asked for."""
    found = StateFormats.of(
        recipe_of(plan["framework"]),
        sharding=plan["sharding"],
        precision=plan["precision"],
        method=plan["method"],
        master=plan["master_weights"],
        gradient=plan["gradient_precision"],
        state=plan["state_precision"],
    )
    fixed = optimizer_of(plan["optimizer"]).moment_bytes is not None
    return States(
        master=found.master > 0 or plan["precision"] == "fp32",
        gradient=FORMATS[found.gradient],
        moment="its own" if fixed else FORMATS[found.moment],
        shard_gradient=found.shard_gradient > 0,
    )


def data_parallel(plan: Plan) -> int:
    """GPUs that gradients are summed over and states are dealt out over."""
    return int(plan["dp"] * plan["cp"])


def accumulation(plan: Plan) -> int:
    """Micro-batches of a replica and step."""
    return int(plan["global_batch_size"] // (plan["micro_batch_size"] * plan["dp"]))


def nodes(plan: Plan) -> tuple[int, int]:
    """Nodes, and GPUs of each; every node has as many. Raises InvalidInput where the GPUs do not divide."""
    gpus = plan["num_gpus"]
    count = ceil(gpus / NODE_GPUS)
    if gpus % count:
        around = (gpus // count * count, (gpus // count + 1) * count)
        raise InvalidInput(
            "launch",
            f"num_gpus {gpus} are not {count} nodes with as many GPUs each; try {around[0]} or {around[1]}.",
            f"num_gpus {around[0]} or {around[1]}",
        )
    return count, gpus // count


def torchrun(plan: Plan) -> str:
    """torchrun with a process for each GPU (docs.pytorch.org, "torchrun")."""
    count, gpus = nodes(plan)
    if count == 1:
        return f"torchrun --standalone --nproc-per-node {gpus}"
    rendezvous = f"--rdzv-backend c10d --rdzv-endpoint $HEAD_NODE:{PORT}"
    return f"torchrun --nnodes {count} --nproc-per-node {gpus} {rendezvous}"


def node_notes(plan: Plan) -> Iterable[str]:
    """What nodes that are not full mean for tensor parallelism."""
    count, gpus = nodes(plan)
    if count > 1 and gpus % plan["tp"]:
        yield f"num_gpus {plan['num_gpus']}: groups of tp {plan['tp']} do not fit into nodes of {gpus} GPUs."


def command(start: str, options: Mapping[str, Any]) -> str:
    """A command with an option a line; True is a bare flag, None and False are left out."""
    lines = [start]
    for name, value in options.items():
        if value is not None and value is not False:
            lines.append(f"  --{name}" if value is True else f"  --{name} {value}")
    return " \\\n".join(lines)


def commented(notes: Iterable[str], text: str) -> str:
    """The text under a comment line for each note."""
    return "".join(f"# {note}\n" for note in notes) + text


def refusal(launcher: str, what: str, allowed: str) -> InvalidInput:
    """The launcher does not do `what`, a field with its value."""
    return InvalidInput("launch", f"{launcher} does not do {what}.", allowed)


def refuse_parallel(launcher: str, plan: Plan, names: Iterable[str]) -> None:
    """InvalidInput for kinds of parallelism that the launcher does not have."""
    for name in names:
        if plan[name] > 1:
            raise refusal(launcher, f"{name} {plan[name]}", "megatron, or another layout")


def refuse_unknown(launcher: str, plan: Plan, name: str, known: Iterable[str]) -> None:
    """InvalidInput for a choice that is none of those that the launcher has."""
    if plan[name] not in known:
        raise refusal(launcher, f"{name} {plan[name]}", f"{name} {', '.join(known)}")
