"""An answer about training as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app import formatting
from app.command_line.report import pairs, quantity, table, wrapped
from app.history.run_log import Run

DEGREES = ("tp", "pp", "vpp", "cp", "ep", "dp")
LAYOUT_HEADS = ("Layout", "GiB", "tokens/s/GPU", "")
#: Terms of a step below this share of it are not shown.
LEAST_SHARE = 0.002


def training(run: Run) -> Iterator[str]:
    """The verdict, what was estimated, the numbers, where memory and time go, the run, the other layouts."""
    found = run.results
    yield found["verdict"]
    yield ""
    yield from pairs(subject(found))
    yield ""
    yield from pairs(speed(found))
    yield ""
    yield from table(("Memory per GPU", "GiB"), memory(found["memory_bytes_per_gpu"]))
    yield ""
    yield from table(("Step", "s", "share"), step(found))
    yield ""
    yield from pairs(whole_run(found["run"]))
    if len(found["layouts"]) > 1:
        yield ""
        yield from table(LAYOUT_HEADS, layouts(found["layouts"]))
    for title, texts in (("Would fit", remedies(found["remedies"])), ("Warnings", found["warnings"])):
        if texts:
            yield ""
            yield f"{title}:"
            for text in texts:
                yield from wrapped(text, "  - ", "    ")


def remedies(changes: list[Mapping[str, Any]]) -> list[str]:
    """Each change that alone would make it fit, with what comes of it."""
    return [
        f"{one['change']}: {one['peak_memory_gb']:.1f} GiB, {formatting.rate(one['tokens_per_s_per_gpu'])} tokens/s/GPU"
        for one in changes
    ]


def layout_text(layout: Mapping[str, Any]) -> str:
    degrees = " ".join(f"{name} {layout[name]}" for name in DEGREES if layout[name] > 1) or "one GPU"
    recompute = layout["activation_recompute"].replace("none", "no")
    sharding = layout["sharding"].replace("none", "no sharding")
    rest = f"{sharding}, micro-batch {layout['micro_batch_size']}, {recompute} recompute"
    return f"{layout['framework']}: {degrees}, {rest}"


def subject(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    model, layout = found["model"], found["layout"]
    size = formatting.count(model["total_params"]) + " parameters"
    if model["active_params"] != model["total_params"]:
        size += f", {formatting.count(model['active_params'])} active"
    if model["trained_params"] != model["total_params"]:
        size += f", {formatting.count(model['trained_params'])} trained"
    yield "Model", f"{model['name']} ({size})"
    yield "Hardware", f"{layout['num_gpus']:,} x {found['gpu']['name']}"
    yield "Layout", layout_text(layout)
    yield "Batch", f"{layout['global_batch_size']:,} sequences per step"


def speed(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Step", quantity(found["step_time_s"], formatting.duration, "")
    yield "Tokens per second and GPU", quantity(found["tokens_per_s_per_gpu"], formatting.rate, "")
    yield "MFU", quantity(found["mfu"], formatting.percent, "")
    yield "HFU", quantity(found["hfu"], formatting.percent, "")
    yield "TFLOPS per GPU", quantity(found["tflops_per_gpu"], formatting.number, "")
    yield "FLOPs counted as", found["flops_convention"]["label"]
    yield "Peak memory", quantity(found["peak_memory_gb"], formatting.number, " GiB")


def memory(parts: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    for name, size in parts.items():
        if size:
            yield name.replace("_", " ").capitalize(), formatting.gib(size)


def step(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    total = sum(found["step_terms_s"].values())
    for name, seconds in found["step_terms_s"].items():
        if seconds > LEAST_SHARE * total:
            yield name.replace("_", " ").capitalize(), formatting.number(seconds), formatting.percent(seconds / total)


def whole_run(run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    assumed = (
        " (not given; 20 per active parameter are " + formatting.count(run["chinchilla_tokens"]) + ")"
        if run["tokens_assumed"]
        else ""
    )
    yield "Tokens", formatting.count(run["tokens"]) + assumed
    if run.get("problem"):
        yield "Time", run["problem"]
        yield "Goodput", formatting.percent(run["goodput"])
        return
    yield "Time", quantity(run["days"], formatting.number, " days")
    yield "GPU hours", quantity(run["gpu_hours"], formatting.count, "")
    yield "Cost", quantity(run["usd"], formatting.usd, "")
    yield "Energy", quantity(run["mwh"], formatting.number, " MWh")
    yield "Carbon", quantity(run["tco2"], formatting.number, " t CO2")
    failures = f"{run['failures']:.3g} failures, a checkpoint every {formatting.duration(run['checkpoint_interval_s'])}"
    yield "Goodput", f"{formatting.percent(run['goodput'])} ({failures})"
    if run["budget"]:
        budget = run["budget"]
        yield (
            "Budget",
            f"{formatting.usd(budget['usd'])} buys {formatting.count(budget['tokens'])} tokens in "
            f"{formatting.number(budget['days'])} days; the same FLOPs train "
            f"{formatting.count(budget['optimal_params'])} parameters best",
        )


def layouts(rows: list[Mapping[str, Any]]) -> Iterator[tuple[str, str, str, str]]:
    for one in rows:
        rate = formatting.rate(one["tokens_per_s_per_gpu"])
        yield layout_text(one["layout"]), f"{one['peak_memory_gb']:.1f}", rate, one["reason"]
