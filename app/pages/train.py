"""What the page of a training run says, in order: numbers as text, rows of tables, figures, commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app import formatting
from app.calculations.errors import InvalidInput
from app.calculations.training import run as totals
from app.calculations.training.memory import Memory
from app.calculations.training.report import TIGHT
from app.calculations.training.space import CHOICES
from app.charts import training as charts
from app.charts.layout import Figure
from app.command_line.report_training import layout_text
from app.deploy import launch_training
from app.glossary.training import TRAINING_KEYS
from app.pages import memory_bar, result
from app.pages.result import MemoryRow, Metric, metric
from app.training_scenarios import ALL_TRAINING_INPUTS, chosen_inputs
from app.training_work import Point, Work, scaling, work_of

Write = Callable[[float | None], str]


def suffixed(write: Write, unit: str) -> Write:
    return lambda value: f"{write(value)} {unit}" if formatting.known(value) else formatting.UNKNOWN


def run_time(days: float | None) -> str:
    """Time of a run: in hours and minutes below two days."""
    if days is None or days >= 2:
        return suffixed(formatting.number, "days")(days)
    return formatting.duration(days * totals.SECONDS_PER_DAY)


#: Heading -> (label, key of the results with dots, how to write it).
METRICS: Mapping[str, tuple[tuple[str, str, Write], ...]] = {
    "Speed": (
        ("Step", "step_time_s", formatting.duration),
        ("Tokens per GPU", "tokens_per_s_per_gpu", suffixed(formatting.rate, "tok/s")),
        ("Tokens in total", "tokens_per_s", suffixed(formatting.rate, "tok/s")),
    ),
    "Utilization": (
        ("MFU", "mfu", formatting.percent),
        ("HFU", "hfu", formatting.percent),
        ("Per GPU", "tflops_per_gpu", suffixed(formatting.number, "TFLOPS")),
    ),
    "Memory": (
        ("Peak, as nvidia-smi", "peak_memory_gb", suffixed(formatting.number, "GiB")),
        ("Reserved", "peak_memory_gib.reserved", suffixed(formatting.number, "GiB")),
        ("Allocated", "peak_memory_gib.allocated", suffixed(formatting.number, "GiB")),
    ),
    "Run": (
        ("Time", "run.days", run_time),
        ("GPU hours", "run.gpu_hours", formatting.integer),
        ("Cost", "run.usd", formatting.usd),
        ("Energy", "run.mwh", suffixed(formatting.number, "MWh")),
        ("Carbon", "run.tco2", suffixed(formatting.number, "t CO2")),
        ("Goodput", "run.goodput", formatting.percent),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Launch:
    """What starts the run, or why a launcher cannot."""

    name: str
    title: str
    text: str
    problem: str
    #: Whether it is the software that was estimated.
    fitting: bool


def is_complete(results: Mapping[str, Any]) -> bool:
    """Whether the results are those of today's answers about training."""
    return (
        result.is_complete(results, TRAINING_KEYS)
        and {"total", "capacity"} <= results["memory_bytes_per_gpu"].keys()
        and all(one["layout"].keys() >= set(CHOICES) for one in results["layouts"])
    )


def parts(inputs: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the template shows. What needs the model is left out where it is gone: `problem` says why."""
    found: dict[str, Any] = {
        "found": results,
        "state": state(results),
        "bar": memory_bar.of_training(results),
        "metrics": metrics(results),
        "notes": notes(results),
        "memory_rows": memory_rows(results),
        "step_rows": charts.step_rows(results["step_terms_s"]),
        "cause_names": charts.CAUSE_NAMES,
        "layout_text": layout_text,
        "run_time": run_time,
        "hints": list(hints(results, trains_weights=inputs.get("method", "full") == "full")),
        "input_rows": result.input_rows(chosen_inputs(inputs), ALL_TRAINING_INPUTS),
        "figures": {
            "memory": charts.memory_figure(results),
            "step": charts.step_figure(results["step_terms_s"]),
        },
        "problem": "",
    }
    try:
        return found | work_parts(inputs, results, found["figures"])
    except InvalidInput as error:
        return found | {"problem": error.message}


def work_parts(inputs: Mapping[str, Any], results: Mapping[str, Any], figures: dict[str, Figure]) -> dict[str, Any]:
    """What is made again from the inputs; its charts are added to `figures`."""
    work = work_of(inputs, results)
    shares = work.peak_shares()
    points = scaling(inputs, results)
    figures["losses"] = charts.losses_figure(shares)
    if len(work.stages) > 1:
        figures["stages"] = charts.stages_figure(work.stages, work.scenario.capacity_bytes)
    if sum(one.tokens_per_s is not None for one in points) > 1:
        figures["throughput"], figures["scaling-mfu"] = charts.throughput_figure(points), charts.mfu_figure(points)
    return {
        "same": work.same,
        "stage_rows": [stage_row(one, work.scenario.capacity_bytes) for one in work.stages],
        "share_rows": charts.share_rows(shares),
        "share_names": charts.SHARE_NAMES,
        "conventions": list(work.conventions()),
        "convention": work.scenario.convention.name,
        "points": scaling_rows(points),
        "launches": launches(inputs, results, work),
    }


def state(results: Mapping[str, Any]) -> str:
    """fits, tight or no: the colour of the verdict."""
    memory = results["memory_bytes_per_gpu"]
    if not results["fits"]:
        return "no"
    return "tight" if memory["total"] > TIGHT * memory["capacity"] else "fits"


def metrics(results: Mapping[str, Any]) -> dict[str, list[Metric]]:
    """The key numbers by heading."""
    return {
        heading: [metric(label, quantity(results, k), write, TRAINING_KEYS[k].meaning) for label, k, write in rows]
        for heading, rows in METRICS.items()
    }


def quantity(results: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """What stands under a key with dots; a plain number is a quantity without a range."""
    found: Any = results
    for name in path.split("."):
        found = found[name]
    return found if isinstance(found, dict) else {"value": found, "low": None, "high": None}


def notes(results: Mapping[str, Any]) -> dict[str, str]:
    """What stands below the numbers of a heading."""
    run = results["run"]
    step = f"{formatting.count(results['tokens_per_s']['value'] * results['step_time_s']['value'])} tokens"
    interval = formatting.duration(run["checkpoint_interval_s"])
    failures = f"{formatting.number(run['failures'])} failures expected, a checkpoint every {interval}."
    return {
        "Speed": f"A step of {formatting.integer(results['layout']['global_batch_size'])} sequences, {step}.",
        "Utilization": f"FLOPs counted as {results['flops_convention']['label']}.",
        "Memory": "Of the fullest GPU, at its peak.",
        "Run": f"{formatting.count(run['tokens'])} tokens in {formatting.integer(run['steps'])} steps; "
        f"{run.get('problem') or failures}",
    }


def memory_rows(results: Mapping[str, Any]) -> list[MemoryRow]:
    """The memory of the fullest GPU at its peak."""
    memory = results["memory_bytes_per_gpu"]
    limit = "Capacity: what a process may hold"
    return result.memory_table(memory, charts.memory_terms(memory), limit, results["gpu"]["memory_bytes"])


def stage_row(one: Memory, capacity_bytes: float) -> dict[str, float]:
    """A pipeline stage: bytes of states, of activations and of the rest, and their sum."""
    terms = one.terms()
    names = ("weights", "master_weights", "gradients", "optimizer_states", "adapters")
    states = sum(terms[name] for name in names)
    activations = terms.get("activations", 0.0)
    return {
        "stage": one.stage + 1,
        "in_flight": one.in_flight,
        "states": states,
        "activations": activations,
        "rest": one.process - states - activations,
        "total": one.process,
        "share": one.process / capacity_bytes,
    }


def scaling_rows(points: list[Point]) -> list[tuple[Point, float | None]]:
    """Each point with its tokens per GPU over those on the fewest GPUs that suffice."""
    per_gpu = [one.tokens_per_s / one.num_gpus if one.tokens_per_s else None for one in points]
    first = next((rate for rate in per_gpu if rate), 1.0)
    return [(one, rate / first if rate else None) for one, rate in zip(points, per_gpu, strict=True)]


def hints(results: Mapping[str, Any], *, trains_weights: bool) -> list[str]:
    """What the laws of scaling and a budget say of the run."""
    run, active = results["run"], results["model"]["active_params"]
    found = []
    if trains_weights:
        ratio = run["tokens"] / run["chinchilla_tokens"]
        optimal = formatting.count(run["chinchilla_tokens"])
        flops = totals.FLOPS_PER_PARAM * active * run["tokens"]
        if run["tokens_assumed"]:
            found.append(f"No tokens were given: it has the {optimal} that are Chinchilla-optimal, 20 a parameter.")
        else:
            found.append(
                f"{formatting.count(run['tokens'])} tokens are {formatting.number(ratio)} times the {optimal} that are "
                f"Chinchilla-optimal for {formatting.count(active)} active parameters. The same FLOPs make most of "
                f"{formatting.count(totals.optimal_params(flops))} parameters; more tokens on a smaller model pay off "
                "where it is served a lot."
            )
    elif run["tokens_assumed"]:
        found.append(f"No tokens were given: {formatting.count(run['tokens'])} are assumed.")
    if run["budget"]:
        budget = run["budget"]
        text = (
            f"{formatting.usd(budget['usd'])} buy {formatting.count(budget['tokens'])} tokens in "
            f"{formatting.number(budget['days'])} days on this layout"
        )
        if trains_weights:
            text += f"; the same FLOPs make most of {formatting.count(budget['optimal_params'])} parameters"
        found.append(f"{text}.")
    elif run.get("problem"):
        found.append("A run that makes no progress has no price: a budget buys nothing.")
    elif run["usd"]["value"] is None:
        found.append("The price of a GPU hour is not known: give one for dollars, and a budget for what it buys.")
    elif run["usd"]["value"] == 0:
        found.append("A GPU hour costs nothing here: give its price to see what a budget buys.")
    else:
        found.append("Give a budget under Price to see how many tokens it buys, and the model that uses them best.")
    return found


def launches(inputs: Mapping[str, Any], results: Mapping[str, Any], work: Work) -> list[Launch]:
    """A command for each launcher, that of the estimated software first; those that cannot do the layout last."""
    framework = results["framework"]["name"]
    found = []
    for name, launcher in launch_training.LAUNCHERS.items():
        text, problem = "", ""
        try:
            text = launch_training.snippet(name, inputs, results, work.model)
        except InvalidInput as error:
            problem = error.message
        found.append(Launch(name, launcher.title, text, problem, framework in launcher.frameworks))
    return sorted(found, key=lambda one: (bool(one.problem), not one.fitting))
