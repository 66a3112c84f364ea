"""One logged run as a row of the history table: the few values that are shown, sorted and filtered by."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from app.history.run_log import Run

#: Longest text of a cell.
MAX_TEXT = 200


class Row(NamedTuple):
    """What the table shows of a run. None is what the run does not say. A tuple, since millions are made in a row."""

    run_id: str
    time: str
    source: str
    kind: str
    model: str
    gpu: str
    gpu_name: str
    num_gpus: float | None
    layout: str
    engine: str
    engine_name: str
    precision: str
    #: What whoever asked wrote beside it.
    note: str
    input_tokens: float | None
    output_tokens: float | None
    #: math.inf is "saturated": as many requests as the memory holds.
    concurrency: float | None
    fits: bool | None
    used_bytes: float | None
    capacity_bytes: float | None
    ttft_ms: float | None
    tpot_ms: float | None
    tokens_per_s: float | None
    tokens_per_s_per_user: float | None
    usd_per_hour: float | None

    @property
    def saturated(self) -> bool:
        """Whether as many requests were asked for as the memory holds."""
        return self.concurrency == math.inf

    @classmethod
    def of(cls, run: Run) -> Row:
        """The row of a run; whatever a foreign run holds, it only makes fields unknown."""
        inputs, results = run.inputs, run.results
        memory, layout = part(results, "memory_bytes_per_gpu"), part(results, "layout")
        gpu_part, engine_part = part(results, "gpu"), part(results, "engine") or part(results, "framework")
        precision = part(results, "precision")
        model = text(part(results, "model"), "name") or text(inputs, "model")
        gpu = text(gpu_part, "slug") or text(inputs, "gpu")
        gpu_name = text(gpu_part, "name") or gpu
        engine = text(engine_part, "name") or text(inputs, "engine")
        saturated = inputs.get("concurrency") == "saturated"
        return cls(
            run_id=run.run_id,
            time=run.time,
            source=kept(run.source),
            kind=kept(run.kind),
            model=model,
            gpu=gpu,
            gpu_name=gpu_name,
            num_gpus=number(layout, "num_gpus") or number(inputs, "num_gpus"),
            layout=layout_text(*(number(layout, way) for way in ("tp", "pp", "dp", "ep"))),
            engine=engine,
            engine_name=text(engine_part, "label") or engine,
            precision=precision_text(*(text(precision, name) for name in ("weights", "activations", "kv_cache")))
            or text(inputs, "precision"),
            note=text(inputs, "note"),
            input_tokens=number(inputs, "input_tokens"),
            output_tokens=number(inputs, "output_tokens"),
            concurrency=math.inf if saturated else number(inputs, "concurrency"),
            fits=results["fits"] if isinstance(results.get("fits"), bool) else None,
            used_bytes=number(memory, "total"),
            capacity_bytes=number(memory, "capacity"),
            ttft_ms=number(part(results, "ttft_ms"), "value"),
            tpot_ms=number(part(results, "tpot_ms"), "value"),
            tokens_per_s=number(part(results, "output_tokens_per_s"), "value"),
            tokens_per_s_per_user=number(part(results, "output_tokens_per_s_per_user"), "value"),
            usd_per_hour=number(part(results, "usd_per_hour"), "value"),
        )


def part(whole: dict[str, Any], name: str) -> dict[str, Any]:
    """The object of that name; an empty one where there is none."""
    value = whole.get(name)
    return value if isinstance(value, dict) else {}


def number(whole: dict[str, Any], name: str) -> float | None:
    """The number of that name, if it is finite and of a size that a float can hold."""
    value: object = whole.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return finite(value)


def number_at(results: dict[str, Any], *path: str) -> float | None:
    """The number at the end of a path into results; None where there is none."""
    *parents, name = path
    for one in parents:
        results = part(results, one)
    return number(results, name)


def finite(value: float | None) -> float | None:
    """The number, unless it is too large to be one of ours."""
    return value if value is not None and -1e300 < value < 1e300 else None


def text(whole: dict[str, Any], name: str) -> str:
    """The text of that name, shortened to what a cell holds."""
    value = whole.get(name)
    return kept(value) if isinstance(value, str) else ""


@functools.lru_cache(maxsize=10_000)
def kept(value: str) -> str:
    """The one copy of a text that many rows share, short and fit for UTF-8 and a database."""
    return value[:MAX_TEXT].encode("utf-8", "replace").decode("utf-8").replace("\0", "")


@functools.lru_cache(maxsize=1000)
def layout_text(tp: float | None, pp: float | None, dp: float | None, ep: float | None) -> str:
    """TP 8 · PP 2: the ways the instance is cut, without those of one."""
    ways = (("TP", tp), ("PP", pp), ("DP", dp), ("EP", ep))
    return kept(" · ".join(f"{name} {way:g}" for name, way in ways if way and way > 1))


@functools.lru_cache(maxsize=1000)
def precision_text(weights: str, activations: str, kv_cache: str) -> str:
    """The one format, or weights / activations / KV cache where they differ."""
    formats = (kept(weights), kept(activations), kept(kv_cache))
    return formats[0] if len(set(formats)) == 1 else kept(" / ".join(name or "?" for name in formats))


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name in `sort=`, its heading, and the field of a row that it sorts by."""

    name: str
    label: str
    unit: str
    field: str
    #: A first click sorts "text" from A, "number" and "other" from the largest; "number" stands right.
    kind: str = "number"


COLUMNS = (
    Column("time", "Time", "UTC", "time", kind="other"),
    Column("source", "Source", "", "source", kind="text"),
    Column("kind", "Kind", "", "kind", kind="text"),
    Column("model", "Model", "", "model", kind="text"),
    Column("gpu", "GPU", "", "gpu_name", kind="text"),
    Column("gpus", "GPUs", "layout", "num_gpus"),
    Column("engine", "Engine", "", "engine_name", kind="text"),
    Column("precision", "Precision", "weights / act. / KV", "precision", kind="text"),
    Column("prompt", "Prompt", "tokens", "input_tokens"),
    Column("output", "Output", "tokens", "output_tokens"),
    Column("concurrency", "Concurrency", "requests", "concurrency"),
    Column("fits", "Fits", "", "fits", kind="other"),
    Column("vram", "VRAM per GPU", "GiB, used / usable", "used_bytes"),
    Column("ttft", "TTFT", "ms", "ttft_ms"),
    Column("tpot", "TPOT", "ms", "tpot_ms"),
    Column("tokens", "Throughput", "tokens/s", "tokens_per_s"),
    Column("user_tokens", "Per user", "tokens/s", "tokens_per_s_per_user"),
    Column("cost", "Cost", "USD/h", "usd_per_hour"),
)
COLUMN = {column.name: column for column in COLUMNS}
DEFAULT_SORT = "-time"
SORTS = tuple(sign + name for name in COLUMN for sign in ("", "-"))
