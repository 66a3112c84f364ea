"""Where no layout is legal: which input is to blame, and the values nearest to it with which one is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from math import prod
from typing import Any

from app.calculations.errors import InvalidInput
from app.calculations.inputs import inputs_of
from app.calculations.parallelism import divides_heads
from app.calculations.training.inputs import TrainingInputs
from app.calculations.training.space import DEGREES, LEAN, Choice, Space

#: Fields in the order in which a scenario judges them: who is refused by a later one is nearer to being legal.
ORDER = (
    "tp", "pp", "num_gpus", "ep", "global_batch_size", "vpp", "cp", "document_tokens", "precision", "lora_rank",
    "hsdp_gpus",
)  # fmt: skip
LABELS = {"tp": "Tensor parallel", "pp": "Pipeline parallel", "cp": "Context parallel", "dp": "Data parallel"}
#: Values of an input that are tried on each side, those of them that are named, and combinations tried for each value.
TRIED, NAMED, MOST_TRIED = 24, 3, 200
INPUTS = inputs_of(TrainingInputs)
Make = Callable[[Choice], Any]


def nearness(error: InvalidInput, choice: Choice) -> tuple[int, int]:
    """How near a refused choice is to being legal: how late it is refused, and how small the steps of its batch are."""
    depth = ORDER.index(error.field) if error.field in ORDER else len(ORDER)
    step = choice["micro_batch_size"] * choice["dp"] if error.field == "global_batch_size" else 0
    return depth, -step


def is_legal(make: Make, space: Space) -> bool:
    """Whether the space has a layout that can be made: if any, then one with the smallest micro-batch."""
    for choice in islice(replace(space, fixed=LEAN | space.given).combinations(), MOST_TRIED):
        try:
            make({**choice, "num_gpus": space.num_gpus})
        except InvalidInput:
            continue
        return True
    return False


def unfilled(make: Make, space: Space) -> InvalidInput:
    """Why no combination uses all GPUs: a degree that was given, or their product."""
    given = {name: value for name, value in space.given.items() if name in DEGREES}
    for name in given:
        if cause(space, name, given[name]):
            return refused(make, space, name)
    if len(given) == 1:
        return refused(make, space, *given)
    product = prod(given.values())
    shown = " x ".join(f"{name} {value}" for name, value in given.items())
    tries = [f"{name} {value}" for name in reversed(given) for value in nearest(make, space, name)[:1]]
    tries += gpu_numbers(make, space)
    relation = f"are not {shown} = {product}" if len(given) == len(DEGREES) else f"cannot be dealt out as {shown}"
    return InvalidInput("num_gpus", f"{space.num_gpus:,} GPUs {relation}{advice(tries)}.", ", ".join(tries))


def advised(error: InvalidInput, make: Make, space: Space) -> InvalidInput:
    """The refusal of a layout, with the nearest values that fit the rest of what was given where it is a degree's."""
    return refused(make, space, error.field) if error.field in DEGREES and error.field in space.given else error


def refused(make: Make, space: Space, name: str) -> InvalidInput:
    """Why a degree of parallelism that was given fits no layout, and the nearest ones that do."""
    value = space.given[name]
    reason = cause(space, name, value)
    if not reason:
        divides = space.num_gpus % value == 0
        reason = "leaves GPUs that nothing else can use" if divides else f"does not divide {space.num_gpus:,} GPUs"
    # Where another degree fits nothing either, one after the other.
    alone = replace(
        space, fixed={one: given for one, given in space.fixed.items() if one not in DEGREES or one == name}
    )
    near = sorted(nearest(make, space, name) or nearest(make, alone, name))
    tries = [" or ".join(map(str, near))] if near else []
    tries += gpu_numbers(make, space)
    return InvalidInput(name, f"{LABELS[name]} {value} {reason}{advice(tries)}.", ", ".join(map(str, near)))


def cause(space: Space, name: str, value: int) -> str:
    """What of the model or the sequence a degree does not fit; empty where it does."""
    model = space.model
    if name == "tp" and not divides_heads(model, value):
        heads = f"{model.num_heads} attention heads ({model.num_kv_heads} key/value heads)"
        return f"does not divide the {heads} of {model.name}"
    if name == "pp" and value > model.num_layers:
        return f"is more than the {model.num_layers} layers of {model.name}"
    if name == "cp" and space.seq_len % value:
        return f"does not divide a sequence of {space.seq_len} tokens"
    return ""


def advice(tries: list[str]) -> str:
    return f"; try {', or '.join(tries)}" if tries else ""


def nearest(make: Make, space: Space, name: str) -> list[int]:
    """Values of a degree nearest to what was given with which there is a legal layout."""
    asked = space.given[name]
    most = INPUTS[name].maximum
    legal = (n for n in divisors_near(space.num_gpus, asked) if n != asked and n <= most)
    tried = (n for n in legal if is_legal(make, replace(space, fixed={**space.fixed, name: n})))
    return list(islice(tried, NAMED))


def divisors_near(number: int, asked: int) -> list[int]:
    """Divisors up to 4,096, the nearest first."""
    found = [n for n in range(1, min(number, 4096) + 1) if number % n == 0]
    return sorted({*found, number}, key=lambda n: abs(n - asked))[:TRIED]


def gpu_numbers(make: Make, space: Space) -> list[str]:
    """The numbers of GPUs next below and above with which there is a legal layout: ["4 or 12 GPUs"]."""
    unit = prod(value for name, value in space.given.items() if name in DEGREES)
    found = [n for side in (below(space, unit), above(space, unit)) for n in first_legal(make, space, side)]
    return [f"{' or '.join(f'{n:,}' for n in found)} GPUs"] if found else []


def below(space: Space, unit: int) -> Iterator[int]:
    start = (space.num_gpus - 1) // unit * unit
    return iter(range(start, 0, -unit))


def above(space: Space, unit: int) -> Iterator[int]:
    start = (space.num_gpus // unit + 1) * unit
    return iter(range(start, start + TRIED * unit, unit))


def first_legal(make: Make, space: Space, numbers: Iterator[int]) -> Iterator[int]:
    """The first of the numbers of GPUs with a legal layout, if one of a few has."""
    few = (n for n in islice(numbers, TRIED) if n <= INPUTS["num_gpus"].maximum)
    return islice((n for n in few if is_legal(make, replace(space, num_gpus=n))), 1)
