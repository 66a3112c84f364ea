"""Rows of training tables -> what decided their memory, and the peak that is predicted for them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from app import training_catalog
from app.calculations.training.memory import Memory, MemorySetting, peak_memory
from app.calculations.training.optimizer import Optimizer
from app.calculations.training.recipe import Adapter, Recipe
from app.calculations.training.setting import Setting
from app.calculations.training.states import StateFormats
from app.calculations.uncertainty import EXTRAPOLATED, INTERPOLATED, Spread, spread
from app.measurements.prediction import Prediction, Row
from app.measurements.training import run_of
from app.measurements.training_notes import is_known, notes_of, year
from app.units import GIB

MEMORY_METRIC = "peak_memory_gb"
GB = 1e9
#: Framework as tables name it -> recipe (the first that matches); else that of its stack.
RECIPES = (
    (r"litgpt|lit-gpt", "litgpt"), (r"torchtune", "torchtune"), (r"trl|hugging|peft|axolotl|unsloth", "huggingface"),
)  # fmt: skip
#: Layers of torchtitan's fused loss (compiled) since this year.
COMPILED_LOSS_SINCE = 2025.3
#: Samples of instruction sets that are not packed are seldom longer.
UNPACKED_TOKENS = 2048
#: Rank where a row does not say it: the default of torchtune and LitGPT.
RANK = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRun:
    """A row's run, the quantity that it reports, and its unit in bytes."""

    setting: Setting
    memory: MemorySetting
    quantity: str
    unit: float
    assumed: tuple[str, ...]

    def predicted(self) -> Memory:
        return peak_memory(self.setting, self.memory)


def recipe_of(row: Row, setting: Setting) -> Recipe:
    framework = (row.get("framework") or "").lower()
    name = next((recipe for pattern, recipe in RECIPES if re.search(pattern, framework)), setting.stack.name)
    return training_catalog.recipes()[name]


def optimizer_of(row: Row) -> Optimizer:
    """The optimizer that the notes name; AdamW where they name none."""
    notes = notes_of(row)
    small = "-8bit" if re.search(r"8-?bit", notes) and "adam" in notes else ""
    name = "adafactor" if "adafactor" in notes else "lion" if re.search(r"\blion\b", notes) else "adamw" + small
    paged = "paged" in notes and name.startswith("adamw")
    return training_catalog.optimizers()["paged-" + name if paged else name]


def adapter_of(row: Row, setting: Setting) -> Adapter | None:
    """Rank and targets of LoRA as the notes say them."""
    if setting.trains_weights:
        return None
    notes = notes_of(row)
    found = re.search(r"lora_r': (\d+)|\br\s*=\s*(\d+)|rank\s*=?\s*(\d+)", notes)
    rank = int(next(filter(None, found.groups()))) if found else RANK
    if "'lora_query'" in notes:
        on = set(re.findall(r"'lora_(\w+)': true", notes))
        targets = "all" if "mlp" in on else "attention" if "projection" in on else "qv"
        return Adapter(kind="lora", rank=rank, targets=targets, dropout=True, head="head" in on)
    after = notes[found.end() : found.end() + 30] if found else ""
    targets = "all" if "mlp" in after or "all-linear" in notes else "attention" if "k,v" in after else "qv"
    return Adapter(kind="lora", rank=rank, targets=targets, dropout="litgpt" in (row.get("framework") or "").lower())


def loss_of(row: Row, recipe: Recipe) -> str:
    notes = notes_of(row)
    if recipe.name == "torchtune":
        return "chunked" if year(row) > 2024.6 else "full"
    if recipe.name == "torchtitan" and year(row) > COMPILED_LOSS_SINCE:
        return "compiled"
    return "chunked" if "chunked" in notes else recipe.default_loss


def quantity_of(row: Row, recipe: Recipe) -> str:
    """Which quantity the source prints."""
    notes = notes_of(row)
    if re.search(r"nvidia-smi|nvml|device.level", notes):
        return "process"
    if "max_memory_allocated" in notes or "peak allocated" in notes:
        return "allocated"
    return "reserved" if "reserved" in notes and "allocated/reserved" not in notes else recipe.reports


def in_backward(row: Row, setting: Setting) -> bool:
    """torchtune's recipe for one GPU pairs paged optimizers with an optimizer that runs in the backward pass."""
    notes = notes_of(row)
    paged = setting.stack.name == "torchtune" and setting.num_gpus == 1 and "paged" in notes
    return bool(re.search(r"fused in backward|optimizer.in.backward", notes)) or paged


def held_sequence(row: Row, setting: Setting) -> Setting:
    """Samples that are not packed are as long as the longest, not as the limit."""
    if setting.stack.name == "torchtune" and "seq length =" in notes_of(row):
        return replace(setting, seq_len=min(setting.seq_len, UNPACKED_TOKENS))
    return setting


def memory_run(row: Row) -> MemoryRun:
    """What decided the memory of a row. Raises InvalidInput as `run_of`."""
    run = run_of(row)
    setting, notes = run.setting, notes_of(row)
    if "nf4" in notes and not setting.trains_weights:
        setting = replace(setting, method="qlora")
    recipe = recipe_of(row, setting)
    setting = replace(setting, adapter=adapter_of(row, setting))
    if "activation offload" in notes:
        setting = replace(setting, offload="activations")
    gradient = "auto"
    if recipe.name == "megatron-deepspeed" and setting.precision == "bf16":
        gradient = "bf16-optimizer"
    memory = MemorySetting(
        recipe=recipe,
        formats=formats_of(recipe, setting, gradient, "nf4-dq" in notes or "nf4" not in notes),
        optimizer=optimizer_of(row),
        loss=loss_of(row, recipe),
        optimizer_in_backward=in_backward(row, setting),
    )
    quantity = quantity_of(row, recipe)
    unit = GB if re.search(r"unit=gb\b", notes) else GIB
    if not is_known(row):
        run = replace(run, assumed=(*run.assumed, f"framework taken as {recipe.label}"))
    assumed = (*run.assumed, f"{quantity} memory in {'GB' if unit == GB else 'GiB'}")
    return MemoryRun(setting=held_sequence(row, setting), memory=memory, quantity=quantity, unit=unit, assumed=assumed)


def formats_of(recipe: Recipe, s: Setting, gradient: str, double: bool) -> StateFormats:
    found = StateFormats.of(
        recipe, sharding=s.sharding, precision=s.precision, method=s.method, double_quantized=double
    )
    # DeepSpeed's BF16 optimizer keeps FP32 gradients beside the 16-bit ones.
    return replace(found, gradient=recipe.gradient_bytes + 4) if gradient == "bf16-optimizer" else found


def predict_training_memory(row: Row) -> Iterator[Prediction]:
    """Peak memory of a GPU in the unit and the quantity of the row's source."""
    base = Prediction(id=row["id"], source=row.get("source", ""), metric=row["metric"], measured=float(row["value"]))
    run = memory_run(row)
    value = run.predicted().reported(run.quantity) / run.unit
    spread = spread_of(run, known=is_known(row))
    low, high = spread.around(value) if spread else (None, None)
    yield replace(base, predicted=value, low=low, high=high, reason="; ".join(run.assumed))


def kind(run: MemoryRun) -> str:
    """Runs whose errors are alike: fine-tuning of adapters, or all weights."""
    return "full" if run.setting.trains_weights else "adapters"


def spread_of(run: MemoryRun, *, known: bool = True) -> Spread | None:
    """How far measured peaks of such runs lay from predictions; None where nothing was measured."""
    spreads = training_catalog.memory_spreads()
    recipe, own = run.memory.recipe.name, kind(run)
    near = known and recipe in training_catalog.measured_recipes()
    return spread(spreads, own, recipe, INTERPOLATED if near else EXTRAPOLATED)
