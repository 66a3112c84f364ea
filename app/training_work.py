"""What a training run is made of, made again from its inputs and its layout: the log holds results only."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from app.calculations.accelerator import Gpu
from app.calculations.architecture import Model
from app.calculations.errors import InvalidInput
from app.calculations.training.flops import CONVENTIONS, Convention
from app.calculations.training.losses import peak_shares
from app.calculations.training.memory import Memory, memory_by_stage
from app.calculations.training.report import run_results, speed_of
from app.calculations.training.scenario import TrainingScenario
from app.calculations.training.search import Candidate
from app.calculations.training.speed import Speed, speed
from app.training_scenarios import Question, question

#: GPU counts of the scaling curve: the number that was asked for, halved and doubled so often.
DOUBLINGS = (1, -1, 2, -2, 3, -3)
#: Seconds that a page spends on searching layouts for other numbers of GPUs; the nearest numbers come first.
BUDGET_SECONDS = 1.5
#: The convention that counts what kernels compute: the causal half of attention.
EXECUTED = CONVENTIONS["causal"]


@dataclass(frozen=True)
class Work:
    """The run's scenario with its memory by stage and its speed. `same`: today's answer is the logged one."""

    model: Model
    scenario: TrainingScenario
    stages: list[Memory]
    same: bool

    def speed(self, convention: Convention | None = None) -> Speed:
        """Under the run's convention of FLOPs, or another."""
        s = self.scenario
        return speed(s.setting, s.efficiency, s.spreads, convention or s.convention)

    def peak_shares(self) -> dict[str, float]:
        """Shares of the GPUs' peak: what is useful and what each cause takes; the sum is 1."""
        found = self.speed()
        executed = self.speed(EXECUTED).hfu.value
        return peak_shares(found.time, mfu=found.mfu.value, hfu=found.hfu.value, executed=executed)

    def conventions(self) -> Iterator[tuple[Convention, Speed]]:
        """The same step under each convention of FLOPs."""
        return ((one, self.speed(one)) for one in CONVENTIONS.values())


def work_of(inputs: Mapping[str, Any], results: Mapping[str, Any]) -> Work:
    """The work of logged inputs and results, in the layout that was chosen. Raises InvalidInput where the inputs mean
    nothing any more, such as a saved model that was deleted."""
    asked, _ = question(inputs)
    scenario = asked.make(results["layout"])
    stages = memory_by_stage(scenario.setting, scenario.memory)
    now = (max(one.process for one in stages), Candidate(scenario).seconds)
    logged = (results["memory_bytes_per_gpu"]["total"], results["step_time_s"]["value"])
    return Work(asked.model, scenario, stages, same=all(map(_close, now, logged)))


def _close(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-6 * abs(b)


@dataclass(frozen=True)
class Point:
    """The best layout on a number of GPUs, for the same batch. `problem`: why there is no number."""

    num_gpus: int
    chosen: bool = False
    layout: Mapping[str, Any] | None = None
    tokens_per_s: float | None = None
    mfu: float | None = None
    days: float | None = None
    usd: float | None = None
    problem: str = ""


def scaling(inputs: Mapping[str, Any], results: Mapping[str, Any], budget_s: float = BUDGET_SECONDS) -> list[Point]:
    """The run on half, double ... its GPUs, fewest first: the same batch, the best layout of each number that keeps
    what was given, and the framework. Numbers for which the budget does not suffice are left out. Raises InvalidInput.
    """
    asked, _ = question({**inputs, "framework": results["layout"]["framework"], "dp": None})
    values = json.dumps(dict(asked.values), sort_keys=True)
    found = [logged_point(results)]
    until = time.monotonic() + budget_s
    for doublings in DOUBLINGS:
        num_gpus = found[0].num_gpus * 2.0**doublings
        if not num_gpus.is_integer() or num_gpus < 1:
            continue
        if time.monotonic() > until:
            break
        found.append(point(values, asked.model, asked.gpu, int(num_gpus)))
    return sorted(found, key=lambda one: one.num_gpus)


def logged_point(results: Mapping[str, Any]) -> Point:
    """The run itself."""
    layout = results["layout"]
    if not results["fits"]:
        return Point(layout["num_gpus"], chosen=True, problem="does not fit")
    return Point(
        num_gpus=layout["num_gpus"],
        chosen=True,
        layout=layout,
        tokens_per_s=results["tokens_per_s"]["value"],
        mfu=results["mfu"]["value"],
        days=results["run"]["days"]["value"],
        usd=results["run"]["usd"]["value"],
    )


@lru_cache(maxsize=256)
def point(values: str, model: Model, gpu: Gpu, num_gpus: int) -> Point:
    """The best layout of parsed values (as JSON) on so many GPUs."""
    asked = Question(json.loads(values) | {"num_gpus": num_gpus}, model, gpu)
    try:
        best = asked.candidates()[0]
    except InvalidInput as error:
        return Point(num_gpus, problem=error.message)
    if not best.fits:
        return Point(num_gpus, problem="does not fit")
    found = speed_of(best.scenario)
    run = run_results(best, found)
    return Point(
        num_gpus=num_gpus,
        layout=best.layout,
        tokens_per_s=best.tokens_per_second,
        mfu=found.mfu.value,
        days=run["days"]["value"],
        usd=run["usd"]["value"],
    )
