"""Lines of the log -> rows of the history, fast: of a run of this version only what a row needs is decoded.

A line of another shape goes the careful way through `run_log.decode`; both give the same row, which a test proves.
"""

from __future__ import annotations

import math

import msgspec

from app.history_rows import Row, finite, kept, layout_text, precision_text
from app.run_log import RUN_ID, SCHEMA, decode, utc_text


class _Named(msgspec.Struct, frozen=True):
    name: str = ""
    slug: str = ""
    label: str = ""


class _Layout(msgspec.Struct, frozen=True):
    num_gpus: int | None = None
    tp: int | None = None
    pp: int | None = None
    dp: int | None = None
    ep: int | None = None


class _Precision(msgspec.Struct, frozen=True):
    weights: str = ""
    activations: str = ""
    kv_cache: str = ""


class _Memory(msgspec.Struct, frozen=True):
    total: float | None = None
    capacity: float | None = None


class _Quantity(msgspec.Struct, frozen=True):
    value: float | None = None


class _Inputs(msgspec.Struct, frozen=True):
    model: str = ""
    gpu: str = ""
    engine: str = ""
    note: str = ""
    num_gpus: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    concurrency: float | str | None = None


class _Results(msgspec.Struct, frozen=True):
    fits: bool | None = None
    model: _Named = _Named()
    gpu: _Named = _Named()
    engine: _Named = _Named()
    layout: _Layout = _Layout()
    precision: _Precision = _Precision()
    memory_bytes_per_gpu: _Memory = _Memory()
    ttft_ms: _Quantity = _Quantity()
    tpot_ms: _Quantity = _Quantity()
    output_tokens_per_s: _Quantity = _Quantity()
    output_tokens_per_s_per_user: _Quantity = _Quantity()
    usd_per_hour: _Quantity = _Quantity()


class _Line(msgspec.Struct, frozen=True):
    schema: int
    run_id: str
    time: str
    source: str
    kind: str
    app_version: str
    inputs: _Inputs
    results: _Results


_DECODER = msgspec.json.Decoder(_Line)


def row_of(line: bytes) -> Row | None:
    """The row of a line; None if it is no run."""
    try:
        found = _DECODER.decode(line)
    except (ValueError, RecursionError):
        return _carefully(line)
    if found.schema != SCHEMA or not RUN_ID.fullmatch(found.run_id):
        return _carefully(line)
    inputs, results = found.inputs, found.results
    gpu, layout, precision = results.gpu, results.layout, results.precision
    model = kept(results.model.name or inputs.model)
    slug = kept(gpu.slug or inputs.gpu)
    engine = kept(results.engine.name or inputs.engine)
    concurrency = inputs.concurrency
    if isinstance(concurrency, str):
        concurrency = math.inf if concurrency == "saturated" else None
    try:
        time = utc_text(found.time)
    except ValueError:
        return None
    return Row(
        run_id=found.run_id,
        time=time,
        source=kept(found.source),
        kind=kept(found.kind),
        model=model,
        gpu=slug,
        gpu_name=kept(gpu.name) or slug,
        num_gpus=finite(layout.num_gpus) or finite(inputs.num_gpus),
        layout=layout_text(layout.tp, layout.pp, layout.dp, layout.ep),
        engine=engine,
        engine_name=kept(results.engine.label) or engine,
        precision=precision_text(precision.weights, precision.activations, precision.kv_cache),
        note=kept(inputs.note),
        input_tokens=finite(inputs.input_tokens),
        output_tokens=finite(inputs.output_tokens),
        concurrency=concurrency if concurrency == math.inf else finite(concurrency),
        fits=results.fits,
        used_bytes=finite(results.memory_bytes_per_gpu.total),
        capacity_bytes=finite(results.memory_bytes_per_gpu.capacity),
        ttft_ms=finite(results.ttft_ms.value),
        tpot_ms=finite(results.tpot_ms.value),
        tokens_per_s=finite(results.output_tokens_per_s.value),
        tokens_per_s_per_user=finite(results.output_tokens_per_s_per_user.value),
        usd_per_hour=finite(results.usd_per_hour.value),
    )


def _carefully(line: bytes) -> Row | None:
    run = decode(line)
    return None if run is None else Row.of(run)
