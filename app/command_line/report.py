"""Runs, models and accelerators as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from app import catalog, formatting, show_work
from app.accuracy import scoring
from app.accuracy.validation import Summary
from app.calculations.accelerator import Gpu
from app.calibration.power import Coefficient
from app.calibration.ranges import Range
from app.glossary import serving
from app.history.run_log import Run
from app.sensitivity import METRICS, Sensitivity

WIDTH = 100

#: Key of the results -> what it is called, how it is written, what stands after it.
QUANTITIES = {
    "ttft_ms": ("Time to first token", formatting.milliseconds, ""),
    "tpot_ms": ("Time per output token", formatting.milliseconds, ""),
    "e2e_latency_ms": ("End-to-end latency", formatting.milliseconds, ""),
    "ttft_ms_p50": ("Time to first token, median", formatting.milliseconds, ""),
    "ttft_ms_p90": ("Time to first token, P90", formatting.milliseconds, ""),
    "ttft_ms_p99": ("Time to first token, P99", formatting.milliseconds, ""),
    "tpot_ms_p50": ("Time per output token, median", formatting.milliseconds, ""),
    "tpot_ms_p90": ("Time per output token, P90", formatting.milliseconds, ""),
    "tpot_ms_p99": ("Time per output token, P99", formatting.milliseconds, ""),
    "output_tokens_per_s": ("Output", formatting.rate, " tokens/s"),
    "total_tokens_per_s": ("Input and output", formatting.rate, " tokens/s"),
    "requests_per_s": ("Requests", formatting.rate, " per s"),
    "max_requests_per_s": ("Most requests", formatting.rate, " per s"),
    "goodput_requests_per_s": ("Requests within the goals", formatting.rate, " per s"),
    "output_tokens_per_s_per_user": ("Output per user", formatting.rate, " tokens/s"),
    "energy_j_per_token": ("Energy per output token", formatting.joules, ""),
    "power_w_per_gpu": ("Power per GPU", formatting.watts, ""),
    "power_w_total": ("Power of the site", formatting.watts, ""),
    "energy_wh_per_request": ("Energy per request", formatting.watt_hours, ""),
    "kwh_per_million_output_tokens": ("Energy per million output tokens", formatting.kilowatt_hours, ""),
    "gco2_per_million_output_tokens": ("CO2 per million output tokens", formatting.grams, ""),
    "electricity_usd_per_hour": ("Electricity per hour", formatting.usd, ""),
    "electricity_usd_per_million_output_tokens": ("Electricity per million output tokens", formatting.usd, ""),
    "usd_per_hour": ("Cost per hour", formatting.usd, ""),
    "usd_per_million_output_tokens": ("Cost per million output tokens", formatting.usd, ""),
    "usd_per_million_input_tokens": ("Cost per million input tokens", formatting.usd, ""),
    "usd_per_million_tokens": ("Cost per million tokens", formatting.usd, ""),
}

MEMORY = {
    "weights": "Weights",
    "kv_cache": "KV cache",
    "activations": "Activations",
    "runtime": "Runtime",
    "total": "Total",
    "capacity": "Usable by the engine",
    "device": "Memory of the GPU",
}


def estimate(run: Run) -> Iterator[str]:
    """An estimate: the verdict, what was estimated, the numbers, what limits them, what to change."""
    found = run.results
    yield found["verdict"]
    yield ""
    yield from pairs(_subject(run))
    yield ""
    yield from pairs(_speed(found))
    yield ""
    yield from table(("Memory per GPU", "GiB"), _memory(found))
    yield ""
    yield from table(("FLOPs", "prefill of a prompt", "decode of a token"), _flops(found["flops"]))
    if found["bound"]:
        yield ""
        yield from pairs(_bounds(found["bound"]))
    for title in ("remedies", "warnings"):
        if found[title]:
            yield ""
            yield f"{title.capitalize()}:"
            for text in found[title]:
                yield from wrapped(text, "  - ", "    ")


def _subject(run: Run) -> Iterator[tuple[str, str]]:
    found = run.results
    model, layout, precision, batch = found["model"], found["layout"], found["precision"], found["batch"]
    active = model["active_params"] != model["total_params"]
    size = formatting.count(model["total_params"]) + " parameters"
    size += f", {formatting.count(model['active_params'])} active" if active else ""
    yield "Model", f"{model['name']} ({size})"
    yield "Hardware", f"{layout['num_gpus']} x {found['gpu']['name']}, {found['engine']['label']}"
    yield "Layout", f"{layout['strategy']}. {layout['reason']}"
    pools = found.get("disaggregation")
    if pools and pools["kv_transfer_ms"] is not None:
        yield (
            "Prefill GPUs",
            f"{formatting.percent(pools['prefill_busy'])} busy; sending a prompt's cache takes "
            + (formatting.milliseconds(pools["kv_transfer_ms"])),
        )
    yield (
        "Precision",
        ", ".join(f"{name.replace('kv_cache', 'KV cache')} {precision[name]}" for name in precision),
    )
    yield "Measured", f"{found['nearness']}: {serving.NEARNESS[found['nearness']]}"
    if found["calibration"] != catalog.PUBLISHED:
        yield "Calibration", found["calibration"]
    yield "Batch", f"{batch['running']:,} running of {_whole(batch['requested'])} requested"
    if found["grid"]:
        yield "Electricity", formatting.electricity(found["grid"], run.inputs.get("pue"))


def _speed(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, (label, write, unit) in QUANTITIES.items():
        if found[key]["value"] is not None or key == "usd_per_hour":
            yield label, quantity(found[key], write, unit)
    yield "Most concurrent requests", formatting.integer(found["max_concurrency"])
    yield "Longest context", formatting.integer(found["max_context_tokens"]) + " tokens"


def quantity(value: Mapping[str, Any], write: Any, unit: str) -> str:
    """A value with its unit, and its range where there is one."""
    if value["value"] is None:
        return formatting.UNKNOWN
    text = write(value["value"]) + unit
    if value["low"] is not None and value["high"] is not None:
        text += f" ({formatting.range_text(write(value['low']), write(value['high']))})"
    return text


def _memory(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    parts = found["memory_bytes_per_gpu"]
    for key, label in MEMORY.items():
        yield label, formatting.gib(parts[key])


def _flops(flops: Mapping[str, Mapping[str, float]]) -> Iterator[tuple[str, str, str]]:
    prefill, decode = flops["prefill"], flops["decode_per_token"]
    for component in prefill:
        name = component.replace("_", " ").capitalize().replace("Lm head", "lm_head")
        yield name, formatting.flops(prefill[component]), formatting.flops(decode.get(component, 0.0))
    yield "Total", formatting.flops(sum(prefill.values())), formatting.flops(sum(decode.values()))


def _bounds(bound: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for phase, limit in bound.items():
        seconds = ", ".join(
            f"{name.replace('_', ' ')} {formatting.duration(value)}" for name, value in limit["seconds"].items()
        )
        yield f"{phase.capitalize()} limited by", f"{limit['by']} ({seconds})"


def _whole(value: int | str) -> str:
    return value if isinstance(value, str) else f"{value:,}"


def work(found: Mapping[str, Any]) -> Iterator[str]:
    """The work of an estimate: the operators of its steps, then the lines that lead to latency and throughput."""
    heads = ("count", "FLOP", "bytes", "FLOP/B", "time", "share", "bound by", "of peak", "of bandwidth")
    for name, step in found["steps"].items():
        yield ""
        cells = (
            (
                row["name"],
                f"{row['count']:,}",
                formatting.flops(row["flops"]) if row["flops"] else "-",
                formatting.decimal_bytes(row["bytes"]) if row["bytes"] else "-",
                _or_dash(row["flops_per_byte"], formatting.number),
                formatting.duration(row["seconds"]),
                formatting.percent(row["share"]),
                show_work.BOUND_WORDS[row["bound_by"]],
                _or_dash(row["share_of_peak"], formatting.percent),
                _or_dash(row["share_of_bandwidth"], formatting.percent),
            )
            for row in step["rows"]
        )
        yield from table((show_work.STEP_NAMES[name], *heads), cells)
        yield f"Total {formatting.duration(step['seconds'])}, on one GPU of one replica"
    if found["chain"]:
        yield ""
        yield "From the steps to latency and throughput:"
    for line in found["chain"]:
        yield from wrapped(line["meaning"], "  ", "  ")
        yield from wrapped(show_work.line_text(line), "      ", "        ")


def _or_dash(value: float | None, write: Any) -> str:
    return "-" if value is None else write(value)


def model(facts: Mapping[str, Any]) -> Iterator[str]:
    """What is known about a model; what it does not have is left out."""
    yield facts["model"]
    yield ""
    yield from pairs((label, text) for label, text in _model(facts) if text)
    for text in facts["warnings"]:
        yield from wrapped(f"Warning: {text}")


def _model(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Family", facts["family"]
    yield "Parameters", formatting.integer(facts["total_params"])
    yield "  active per token", formatting.integer(facts["active_params"])
    for group, params in facts["params_by_group"].items():
        yield f"  {group.replace('_', ' ').replace('lm head', 'lm_head')}", formatting.integer(params)
    yield "Layers", formatting.integer(facts["num_layers"])
    yield "Hidden size", formatting.integer(facts["hidden_size"])
    yield "Attention heads", _some(facts["num_heads"], f" ({facts['num_kv_heads']:,} key/value)")
    yield "Routed experts", _some(facts["num_experts"])
    yield "Vocabulary", formatting.integer(facts["vocab_size"])
    yield "Tied embeddings", "yes" if facts["tied_embeddings"] else "no"
    yield "Longest context", formatting.integer(facts["max_position"])
    yield "KV cache per token, bf16", formatting.integer(facts["kv_bytes_per_token_bf16"]) + " bytes"
    if facts["window_bytes_per_sequence_bf16"]:
        past = formatting.integer(facts["kv_bytes_per_token_past_windows_bf16"])
        yield "  once windows are full", f"{past} bytes"
        yield "  held by full windows", _some(facts["window_bytes_per_sequence_bf16"], " bytes per sequence")
    yield "State, bf16", _some(facts["state_bytes_per_sequence_bf16"], " bytes per sequence")
    yield "Weights, bf16", formatting.integer(facts["weight_bytes_bf16"]) + " bytes"
    yield (
        "Checkpoint",
        f"{facts['checkpoint_precision']}, {formatting.binary_bytes(facts['checkpoint_bytes'])}",
    )
    by_format = facts["checkpoint_bytes_by_format"]
    if len(by_format) > 1:
        yield "  by format", ", ".join(f"{name} {formatting.binary_bytes(size)}" for name, size in by_format.items())
    tower = facts["tower_params"]
    size = "of unknown size" if tower is None else _some(tower, " parameters")
    yield "Vision or audio tower", f"{size}, not counted above" if size else ""
    yield "Multi-token prediction", _some(facts["mtp_layers"], " layers, not counted above")
    yield "Source", facts["source"]


def _some(value: int, unit: str = "") -> str:
    """The number with its unit, or nothing for zero."""
    return f"{value:,}{unit}" if value else ""


def gpu(facts: Mapping[str, Any]) -> Iterator[str]:
    """What is known about an accelerator."""
    price = facts["price_usd_per_gpu_hour"]
    yield f"{facts['name']} ({facts['gpu']})"
    yield ""
    yield from pairs(
        [
            ("Maker", "custom" if facts["own"] else f"{facts['vendor']}, {facts['architecture']}, {facts['year']}"),
            ("Memory", formatting.binary_bytes(facts["memory_bytes"])),
            ("  as it is sold", f"{facts['marketing_memory_gb']:g} GB"),
            ("Memory bandwidth", formatting.bandwidth(facts["memory_bandwidth_bytes_per_s"])),
            *((f"Peak {p}, dense", formatting.flops_per_second(v)) for p, v in facts["peak_flops_per_s"].items()),
            ("Link", f"{facts['link']}, {formatting.bandwidth(facts['link_bytes_per_s'])} per direction"),
            ("GPUs joined by it", formatting.integer(facts["domain_gpus"])),
            ("Board power", formatting.watts(facts["tdp_w"])),
            ("Price", formatting.UNKNOWN if price is None else f"{formatting.usd(price)} per hour"),
            ("Price source", facts["price_source"] or formatting.UNKNOWN),
            ("Source", facts["source"]),
            ("Notes", facts["notes"] or "none"),
        ]
    )


def models(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The list of models."""
    cells = (
        (
            row["id"] + (" (own)" if row["own"] else ""),
            formatting.count(row["total_params"]),
            formatting.count(row["active_params"]),
            formatting.integer(row["kv_bytes_per_token_bf16"]),
        )
        for row in rows
    )
    yield from table(("Model", "parameters", "active", "KV bytes per token, bf16"), cells)


def gpus(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The list of accelerators."""
    cells = (
        (
            row["gpu"] + (" (own)" if row["own"] else ""),
            formatting.gib(row["memory_bytes"]),
            formatting.bandwidth(row["memory_bandwidth_bytes_per_s"]),
            formatting.flops_per_second(row["peak_flops_per_s"].get("bf16")),
        )
        for row in rows
    )
    yield from table(("Accelerator", "GiB", "bandwidth", "bf16 peak"), cells)


def runs(newest: Iterable[Run]) -> Iterator[str]:
    """The list of runs."""
    for run in newest:
        time = run.time[:16].replace("T", " ")
        yield f"{run.run_id}  {time}  {run.source:7}  {run.results.get('verdict', '')}"


def pairs(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """A label and its text a line, the texts below each other and wrapped."""
    rows = list(rows)
    margin = max(len(label) for label, _ in rows) + 2
    for label, text in rows:
        yield from wrapped(text, label.ljust(margin), " " * margin)


def wrapped(text: str, first: str = "", rest: str = "") -> list[str]:
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines or [first.rstrip()]


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table: names to the left, numbers to the right."""
    cells = [tuple(heads), *(tuple(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    for row in cells:
        name, *numbers = (
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join((name, *numbers)).rstrip()


def ranges(lines: Iterable[Range]) -> Iterator[str]:
    """Fitted ranges by metric, engine and nearness, a line each."""
    yield f"{'metric, engine, nearness':40} {'low':>7} {'high':>7} {'rows':>7} {'pairs':>6} {'inside':>7}"
    for one in lines:
        name, spread = " ".join((one.metric, one.engine, one.nearness)), one.spread
        yield (f"{name:40} {spread.low:7.2f} {spread.high:7.2f} {spread.rows:7} {spread.groups:6} {one.coverage:7.0%}")


def power(coefficients: Iterable[Coefficient]) -> Iterator[str]:
    """Fitted coefficients of power, a line each."""
    yield f"{'power':24} {'value':>9} {'error':>9} {'rows':>7}  unit"
    for one in coefficients:
        name = f"{one.name} {one.key}".strip()
        yield f"{name:24} {one.value:9.4g} {one.standard_error:9.2g} {one.rows:7}  {one.prior.unit}"


def own_calibration(name: str, figures: Iterable[tuple[str, int, Mapping[str, float | None]]]) -> Iterator[str]:
    """What a user's measurements taught: median errors before and after, by class of metrics."""
    yield f"Saved as {name!r}. Median errors on your measurements:"
    yield f"  {'':12} {'rows':>6} {'published':>10} {'yours':>7} {'left out':>9}"
    for metric, rows, errors in figures:
        published, yours, without = (
            formatting.UNKNOWN if errors[one] is None else f"{errors[one]:.1%}"
            for one in ("published", "yours", "left out")
        )
        yield f"  {metric:12} {rows:6} {published:>10} {yours:>7} {without:>9}"
    yield f"Use it: estimate --calibration {name!r} ..."


def sensitivity(found: Sensitivity, metric: str) -> Iterator[str]:
    """The levers of a number, the strongest first."""
    label, unit, _ = METRICS[metric]
    if metric not in found.base:
        yield f"{label} is not known for this question."
        return
    yield f"{label}: {found.base[metric]:,.4g} {unit}"
    for lever in found.ranked(metric):
        for one in lever.outcomes:
            effect = (
                f"{one.metrics[metric]:>12,.4g}  {one.metrics[metric] / found.base[metric] - 1:+8.1%}"
                if metric in one.metrics
                else f"  {one.problem}"
            )
            yield f"  {lever.label[:28]:28} {lever.value:>10} -> {one.value:>10} {effect}"


def prices(gpus: Iterable[Gpu]) -> Iterator[str]:
    """What accelerators cost an hour, and where that comes from."""
    yield from table(
        ("accelerator", "USD/h", "region", "source"),
        (
            (
                one.slug,
                formatting.usd(one.price_usd_per_hour),
                one.price_region or "any",
                one.price_source[:70],
            )
            for one in gpus
        ),
    )


def left_out(grouping: str, judged: Sequence[scoring.Judged]) -> Iterator[str]:
    """Errors of fits that each group was left out of, by class and by source."""
    yield f"left out: {grouping}"
    for name, headline in scoring.headlines(judged).items():
        mean, pooled = headline.mean_of_source_medians, headline.pooled
        if pooled.median is not None and pooled.p90 is not None:
            beside = "" if mean is None else f"; mean of {headline.sources} source medians {mean:.1%}"
            yield f"  {name:12} {pooled.rows:6} rows, median {pooled.median:.1%}, P90 {pooled.p90:.1%}{beside}"
    for (source, name), figures in scoring.by_source(judged).items():
        if figures.median is not None and figures.p90 is not None:
            numbers = f"{figures.rows:6} {figures.median:8.1%} {figures.p90:8.1%} {figures.bias or 0.0:+7.2f}"
            yield f"    {source + ' ' + name:60} {numbers}"


def accuracy(summaries: Iterable[Summary]) -> Iterator[str]:
    """Errors by source and metric, a line each."""

    def share(value: float | None) -> str:
        return f"{value:8.1%}" if value is not None else "       -"

    yield f"{'source and metric':56}    rows predicted   median      p90     bias in range"
    for one in summaries:
        bias = f"{one.bias:+8.2f}" if one.bias is not None else "       -"
        yield (
            f"{one.source[:32] + ' ' + one.metric:56} {one.rows:7} {one.predicted:9} {share(one.median_error)} "
            f"{share(one.p90_error)} {bias} {share(one.within_range)}"
        )
