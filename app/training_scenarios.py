"""The door to training: names and text as people give them -> candidates of the core, the inputs to log."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import gcd
from types import MappingProxyType
from typing import Any

from app import catalog, training_catalog
from app.calculations.accelerator import Gpu
from app.calculations.architecture import Model
from app.calculations.errors import InvalidInput
from app.calculations.inputs import Input, inputs_of
from app.calculations.scenario import CUSTOM
from app.calculations.tensor import Tensor
from app.calculations.training.flops import CONVENTIONS
from app.calculations.training.inputs import TrainingInputs
from app.calculations.training.memory import MemorySetting, peak_memory
from app.calculations.training.optimizer import Optimizer
from app.calculations.training.recipe import Adapter, Recipe
from app.calculations.training.refusals import advised, unfilled
from app.calculations.training.run import Interruptions
from app.calculations.training.scenario import Run, TrainingScenario
from app.calculations.training.search import Found, search
from app.calculations.training.setting import Setting
from app.calculations.training.space import CHOICES, Choice, Space
from app.calculations.training.states import StateFormats
from app.own.by_hand import GPU_INPUTS, MODEL_INPUTS, custom_gpu, custom_model
from app.scenarios import refuse_unused

TRAINING_INPUTS = inputs_of(TrainingInputs)
#: Every input of training by name.
ALL_TRAINING_INPUTS: Mapping[str, Input] = MappingProxyType({**TRAINING_INPUTS, **MODEL_INPUTS, **GPU_INPUTS})
SECONDS_PER_HOUR, SECONDS_PER_MINUTE = 3600.0, 60.0
AUTO = "auto"
#: Tokens of a step where no batch is given: pre-training (Llama 3 began with 4M, arXiv:2407.21783), fine-tuning.
FULL_TOKENS, ADAPTER_TOKENS = 2**22, 2**16
#: Sharding that a framework has of its own, where only the sharding is given.
FRAMEWORK_OF_SHARDING = {
    "fsdp-full": "torchtitan", "fsdp-grad-op": "torchtitan", "hsdp": "torchtitan", "zero2": "deepspeed",
    "zero3": "deepspeed", "zero1": "megatron",
}  # fmt: skip


@dataclass(frozen=True)
class Question:
    """What was asked: parsed values, the model and the GPU, and how a choice becomes a scenario.

    `batch_given`: the global batch is not the usual one, which follows the number of GPUs.
    """

    values: Mapping[str, Any]
    model: Model
    gpu: Gpu
    batch_given: bool = True

    def fixed(self) -> dict[str, Any]:
        """What is not left to the search."""
        found = {name: self.values[name] for name in CHOICES}
        for name in ("framework", "sharding", "activation_recompute"):
            found[name] = None if found[name] == AUTO else found[name]
        if found["framework"] is None and found["sharding"] and self.values["method"] == "full":
            found["framework"] = FRAMEWORK_OF_SHARDING.get(found["sharding"])
        return found

    @property
    def space(self) -> Space:
        """What the search may choose from."""
        return Space(
            model=self.model,
            num_gpus=self.values["num_gpus"],
            seq_len=self.values["seq_len"],
            domain_gpus=max(self.gpu.domain_gpus, 1),
            method=self.values["method"],
            fixed=self.fixed(),
        )

    def combinations(self) -> list[dict[str, Any]]:
        """Layouts that keep what was given. Raises InvalidInput where none uses all GPUs."""
        found = list(self.space.combinations()) or list(self.space.last_resort())
        if not found:
            raise unfilled(self.make, self.space)
        return found

    def candidates(self) -> Found:
        """Those layouts, best first. Raises InvalidInput where none is legal."""
        try:
            return search(self.make, self.combinations(), self.space.last_resort())
        except InvalidInput as error:
            raise advised(error, self.make, self.space) from error

    def make(self, choice: Choice) -> TrainingScenario:
        """The scenario of one choice. Raises InvalidInput."""
        values = {**self.values, **choice}
        if not self.batch_given and {"num_gpus", "method"} & choice.keys() and "global_batch_size" not in choice:
            asked = {name: values[name] for name in ("num_gpus", "method")}
            values["global_batch_size"] = usual_batch({**self.values, **asked})
        recipe = recipe_of(values["framework"])
        optimizer = optimizer_of(values["optimizer"])
        s = setting(values, self.model, self.gpu, recipe, optimizer)
        memory = memory_setting(values, s, recipe, optimizer)
        if optimizer.paged:
            s = replace(s, paged_bytes=peak_memory(s, memory).paged_out)
        return TrainingScenario(
            setting=s,
            memory=memory,
            hardware=catalog.hardware(),
            efficiency=training_catalog.efficiency(),
            spreads=training_catalog.spreads(),
            memory_spreads=training_catalog.memory_spreads(),
            measured_memory=recipe.name in training_catalog.measured_recipes(),
            convention=CONVENTIONS[values["flops_convention"]],
            run=run_of(values, self.gpu),
        )


def recipe_of(name: str) -> Recipe:
    recipes = training_catalog.recipes()
    if name not in recipes:
        raise unknown("framework", name, recipes)
    return recipes[name]


def optimizer_of(name: str) -> Optimizer:
    optimizers = training_catalog.optimizers()
    if name not in optimizers:
        raise unknown("optimizer", name, optimizers)
    return optimizers[name]


def unknown(field: str, name: str, known: Mapping[str, object]) -> InvalidInput:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f" Did you mean {', '.join(near)}?" if near else ""
    return InvalidInput(field, f"{field.capitalize()} {name!r} is not known.{hint}", ", ".join(known))


def setting(values: Mapping[str, Any], model: Model, gpu: Gpu, recipe: Recipe, optimizer: Optimizer) -> Setting:
    """What the step's time depends on."""
    stack = training_catalog.stacks()[recipe.stack]
    formats = formats_of(values, recipe)
    of_framework = StateFormats.of(recipe, sharding=values["sharding"])
    asked = values["gradient_precision"] != AUTO or values["precision"] == "fp32"
    full = values["activation_recompute"] == "full"
    return Setting(
        model=model,
        gpu=gpu,
        links=training_catalog.links(gpu, network_gb_s=values["network_gb_s"]),
        stack=stack,
        num_gpus=values["num_gpus"],
        seq_len=values["seq_len"],
        micro_batch_size=values["micro_batch_size"],
        global_batch_size=values["global_batch_size"],
        **{name: values[name] for name in ("tp", "pp", "vpp", "cp", "ep", "dp", "sharding", "precision")},
        hsdp_gpus=values["hsdp_gpus"] or gpus_of_a_node(values),
        activation_recompute=values["activation_recompute"],
        recompute_layers=values["recompute_layers"] if full else None,
        method=values["method"],
        adapter=adapter_of(values),
        sequence_parallel=values["sequence_parallel"],
        document_tokens=values["document_tokens"],
        dropless=values["dropless"] and model.is_mixture_of_experts,
        expert_imbalance=values["expert_imbalance"],
        offload="" if values["offload"] == "none" else values["offload"],
        state_bytes=optimizer.bytes_per_parameter(square(model), formats.moment),
        gradient_bytes=formats.gradient if asked else None,
        update_bytes=formats.update_bytes - of_framework.update_bytes,
        asynchronous_tp=values["asynchronous_tp"],
        compiled=values["compiled"] or not stack.compiles,
    )


def gpus_of_a_node(values: Mapping[str, Any]) -> int:
    """Data-parallel GPUs of a node, as many as divide all of them."""
    return gcd(max(catalog.hardware().node_gpus // values["tp"], 1), values["dp"] * values["cp"])


def square(model: Model) -> Tensor:
    """A matrix as most of the model's are."""
    return Tensor("matrix", "other", (model.hidden_size, model.hidden_size), "linear")


def adapter_of(values: Mapping[str, Any]) -> Adapter | None:
    if values["method"] == "full":
        return None
    kind = {"qlora": "lora"}.get(values["method"], values["method"])
    return Adapter(kind=kind, rank=values["lora_rank"], targets=values["lora_targets"])


def formats_of(values: Mapping[str, Any], recipe: Recipe) -> StateFormats:
    return StateFormats.of(
        recipe,
        sharding=values["sharding"],
        precision=values["precision"],
        method=values["method"],
        master=values["master_weights"],
        gradient=values["gradient_precision"],
        state=values["state_precision"],
    )


def memory_setting(values: Mapping[str, Any], s: Setting, recipe: Recipe, optimizer: Optimizer) -> MemorySetting:
    """What the memory depends on beside."""
    return MemorySetting(
        recipe=recipe,
        formats=formats_of(values, recipe),
        optimizer=optimizer,
        loss=recipe.default_loss if values["loss"] == AUTO else values["loss"],
        recompute_group=values["recompute_group"] if s.activation_recompute == "full" else 1,
    )


def run_of(values: Mapping[str, Any], gpu: Gpu) -> Run:
    """The run's size, price and interruptions."""
    if values["epochs"] is not None and values["dataset_tokens"] is None:
        raise InvalidInput("dataset_tokens", "Data set: epochs need its tokens.", "a number of tokens")
    if values["tokens"] is not None:
        for name in ("epochs", "dataset_tokens"):
            if values[name] is not None:
                raise InvalidInput(
                    "tokens",
                    f"Tokens: either tokens or epochs of a data set, and {name} is {values[name]:,g}; leave out one.",
                    "tokens, or dataset_tokens with or without epochs",
                )
    tokens = values["tokens"]
    if values["dataset_tokens"] is not None and tokens is None:
        tokens = values["dataset_tokens"] * (values["epochs"] or 1.0)
    asked = values["price_usd_per_gpu_hour"]
    minutes = values["checkpoint_interval_minutes"]
    return Run(
        tokens=tokens,
        price_usd_per_gpu_hour=gpu.price_usd_per_hour if asked is None else asked,
        budget_usd=values["budget_usd"],
        region=catalog.grid(values["region"]),
        pue=values["pue"],
        interruptions=Interruptions(
            gpu_mtbf_hours=values["gpu_mtbf_hours"],
            checkpoint_seconds=values["checkpoint_seconds"],
            restart_seconds=values["restart_minutes"] * SECONDS_PER_MINUTE,
            interval_seconds=None if minutes is None else minutes * SECONDS_PER_MINUTE,
        ),
    )


def usual_batch(values: Mapping[str, Any]) -> int:
    """Sequences of a step where they are not given: so many tokens, in a number that every layout divides."""
    unit = values["num_gpus"] * (values["micro_batch_size"] or 1)
    usual = FULL_TOKENS if values["method"] == "full" else ADAPTER_TOKENS
    return int(max(round(usual / values["seq_len"] / unit), 1) * unit)


def chosen_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Logged inputs as they would be typed: without a global batch that is the usual one."""
    try:
        usual = usual_batch({name: one.parse(inputs.get(name)) for name, one in TRAINING_INPUTS.items()})
    except InvalidInput:
        return dict(inputs)
    return {name: value for name, value in inputs.items() if name != "global_batch_size" or value != usual}


def check_names(raw: Mapping[str, object]) -> None:
    """InvalidInput for a key that is no input, with the nearest that is."""
    for key in raw:
        if key not in ALL_TRAINING_INPUTS:
            name = str(key)[:100]
            near = difflib.get_close_matches(name, ALL_TRAINING_INPUTS, n=3, cutoff=0.5)
            hint = f" Did you mean {', '.join(near)}?" if near else ""
            raise InvalidInput(name, f"{name!r} is not an input.{hint}", ", ".join(ALL_TRAINING_INPUTS))


def check_method(raw: Mapping[str, object], values: Mapping[str, Any]) -> None:
    """InvalidInput for settings of adapters where all weights are trained, and of HSDP and recomputation where there is
    none."""
    if values["method"] == "full":
        for name in ("lora_rank", "lora_targets"):
            if values[name] != TRAINING_INPUTS[name].default:
                raise InvalidInput(
                    name,
                    f"{TRAINING_INPUTS[name].label}: {values[name]} counts only for adapters, and the method is full.",
                    "method lora, dora, qlora or adapter, or leave it out",
                )
    if values["hsdp_gpus"] is not None and values["sharding"] != "hsdp":
        raise InvalidInput(
            "hsdp_gpus",
            f"{TRAINING_INPUTS['hsdp_gpus'].label}: {values['hsdp_gpus']} counts only with hsdp sharding, and it is "
            f"{values['sharding']}.",
            "sharding hsdp, or leave it out",
        )
    for name in ("recompute_layers", "recompute_group"):
        if values[name] != TRAINING_INPUTS[name].default and values["activation_recompute"] != "full":
            raise InvalidInput(
                name,
                f"{TRAINING_INPUTS[name].label}: {values[name]} counts only with full recompute, and it is "
                f"{values['activation_recompute']}.",
                "activation_recompute full, or leave it out",
            )
    if values["recompute_layers"] is not None and values["recompute_group"] > 1:
        raise InvalidInput(
            "recompute_group",
            f"{TRAINING_INPUTS['recompute_group'].label}: {values['recompute_group']} is Megatron's uniform method, "
            f"and recompute_layers {values['recompute_layers']} its block method.",
            "one of them",
        )


def check_model(model: Model, values: Mapping[str, Any]) -> None:
    """InvalidInput for settings that mean nothing with this model."""
    layers = values["recompute_layers"]
    if layers is not None and layers > model.num_layers:
        raise InvalidInput(
            "recompute_layers",
            f"{TRAINING_INPUTS['recompute_layers'].label}: {model.name} has {model.num_layers} layers, not {layers}.",
            f"0 to {model.num_layers}",
        )
    imbalance = values["expert_imbalance"]
    if imbalance > 1 and not model.is_mixture_of_experts:
        raise InvalidInput(
            "expert_imbalance",
            f"{TRAINING_INPUTS['expert_imbalance'].label}: {imbalance:g}, but {model.name} has no experts.",
            "1",
        )


def model_of(inputs: Mapping[str, object]) -> Model:
    """The model that logged inputs name or describe."""
    return question(inputs)[0].model


def question(raw: Mapping[str, object], *, model: Model | None = None) -> tuple[Question, dict[str, Any]]:
    """What raw names and values ask, and the inputs to log. Raises InvalidInput."""
    check_names(raw)
    values = {name: one.parse(raw.get(name)) for name, one in ALL_TRAINING_INPUTS.items()}
    check_method(raw, values)
    is_custom_gpu = values["gpu"].lower() == CUSTOM
    is_custom_model = model is None and values["model"].lower() == CUSTOM
    if not is_custom_model:
        refuse_unused(values, MODEL_INPUTS, "model")
    if not is_custom_gpu:
        refuse_unused(values, GPU_INPUTS, "gpu")
    region = catalog.grid(values["region"]).slug
    gpu = custom_gpu(values) if is_custom_gpu else catalog.gpu(values["gpu"], region=region)
    if model is None:
        model = custom_model(values) if is_custom_model else catalog.model(values["model"])
    check_model(model, values)
    logged = {name: values[name] for name in TRAINING_INPUTS}
    logged |= {"model": model.name, "gpu": gpu.slug}
    if is_custom_model:
        logged |= {name: values[name] for name in MODEL_INPUTS}
    if is_custom_gpu:
        logged |= {name: values[name] for name in GPU_INPUTS}
    batch_given = values["global_batch_size"] is not None
    values["global_batch_size"] = values["global_batch_size"] or usual_batch(values)
    logged["global_batch_size"] = values["global_batch_size"]
    return Question(values, model, gpu, batch_given), {
        name: value for name, value in logged.items() if value is not None
    }
