"""What starts a planned training run: torchrun with torchtitan, accelerate with FSDP, DeepSpeed, Megatron-LM."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.calculations.architecture import Model
from app.deploy.launch_accelerate import accelerate
from app.deploy.launch_deepspeed import deepspeed
from app.deploy.launch_megatron import megatron
from app.deploy.launch_torchtitan import torchtitan
from app.deploy.training_plan import Plan, commented, node_notes, plan_of


@dataclass(frozen=True, slots=True)
class Launcher:
    """What a launcher is called, and the frameworks of estimates that it starts as they were estimated."""

    title: str
    frameworks: tuple[str, ...]
    #: Plan, model -> what the launcher does otherwise, and the commands. Raises InvalidInput for what it cannot do.
    make: Callable[[Plan, Model], tuple[list[str], str]]


LAUNCHERS: Mapping[str, Launcher] = {
    "torchrun": Launcher("torchrun with torchtitan (FSDP2)", ("torchtitan",), torchtitan),
    "accelerate": Launcher("Hugging Face accelerate with FSDP", ("torchtune", "litgpt", "huggingface"), accelerate),
    "deepspeed": Launcher("DeepSpeed", ("deepspeed", "megatron-deepspeed"), deepspeed),
    "megatron": Launcher("Megatron-LM", ("megatron", "megatron-2021", "megatron-2022"), megatron),
}


def snippet(launcher: str, inputs: Mapping[str, Any], results: Mapping[str, Any], model: Model) -> str:
    """Command and configuration of a run, under a comment line for each choice that the launcher cannot express.
    Raises InvalidInput where it cannot do the plan."""
    plan = plan_of(inputs, results)
    found = LAUNCHERS[launcher]
    notes, text = found.make(plan, model)
    if plan["framework"] not in found.frameworks:
        label = results["framework"]["label"]
        notes = [f"framework {plan['framework']}: estimated for {label}; memory and speed are others here.", *notes]
    return commented([*notes, *node_notes(plan)], text)
