"""Lines of the log -> entries of the index, fast: of a run of this version only what the history needs is decoded.

A line of another shape goes the careful way through `run_log.run_of`; both give the same entry, which a test proves.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Annotated, Any

import msgspec

from app.history.rows import Row, kept, layout_text, precision_text
from app.history.run_log import RUN_ID, SCHEMA, run_of, utc_text
from app.history.tables import NUMBERS, SETUP_FIELDS, milliseconds

#: The values of SETUP_FIELDS, and of NUMBERS. Plain tuples, since millions are made in a row.
Setup = tuple[Any, ...]
Numbers = tuple[float | None, ...]
#: The id of a run, its time in milliseconds since 1970, its setup and its numbers.
Entry = tuple[str, int, Setup, Numbers]

#: Of what `rows.finite` lets through; a larger number goes the careful way.
Finite = Annotated[float, msgspec.Meta(gt=-1e300, lt=1e300)]
Whole = Annotated[int, msgspec.Meta(gt=-(2**53), lt=2**53)]
#: A time as `run_log.utc_text` writes it.
UTC_TEXT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


#: None of them holds a cycle. What the garbage collector does not follow is made in half the time.
class _Named(msgspec.Struct, frozen=True, gc=False):
    name: str = ""
    slug: str = ""
    label: str = ""


_UNNAMED = _Named()


class _Layout(msgspec.Struct, frozen=True, gc=False):
    num_gpus: Whole | None = None
    tp: Whole | None = None
    pp: Whole | None = None
    dp: Whole | None = None
    ep: Whole | None = None


class _Precision(msgspec.Struct, frozen=True, gc=False):
    weights: str = ""
    activations: str = ""
    kv_cache: str = ""


class _Memory(msgspec.Struct, frozen=True, gc=False):
    total: Finite | None = None
    capacity: Finite | None = None


class _Quantity(msgspec.Struct, frozen=True, gc=False):
    value: Finite | None = None


class _Inputs(msgspec.Struct, frozen=True, gc=False):
    model: str = ""
    gpu: str = ""
    engine: str = ""
    note: str = ""
    precision: str = ""
    num_gpus: Finite | None = None
    input_tokens: Finite | None = None
    output_tokens: Finite | None = None
    concurrency: Finite | str | None = None


class _Results(msgspec.Struct, frozen=True, gc=False):
    fits: bool | None = None
    model: _Named = _Named()
    gpu: _Named = _Named()
    engine: _Named = _Named()
    framework: _Named = _Named()
    layout: _Layout = _Layout()
    precision: _Precision = _Precision()
    memory_bytes_per_gpu: _Memory = _Memory()
    ttft_ms: _Quantity = _Quantity()
    tpot_ms: _Quantity = _Quantity()
    output_tokens_per_s: _Quantity = _Quantity()
    output_tokens_per_s_per_user: _Quantity = _Quantity()
    usd_per_hour: _Quantity = _Quantity()


class _Line(msgspec.Struct, frozen=True, gc=False):
    schema: int
    run_id: str
    time: str
    source: str
    kind: str
    app_version: str
    inputs: _Inputs
    results: _Results


_DECODER = msgspec.json.Decoder(_Line)


def entry_of(line: bytes) -> Entry | None:
    """The entry of a line; None if it is no run."""
    try:
        if not line.isascii():
            line.decode("utf-8")  # Texts that are passed over are not looked at otherwise.
        found = _DECODER.decode(line)
    except (ValueError, RecursionError):
        return _carefully(line)
    if found.schema != SCHEMA or not RUN_ID.fullmatch(found.run_id):
        return _carefully(line)
    inputs, results = found.inputs, found.results
    gpu, layout, precision = results.gpu, results.layout, results.precision
    program = results.engine if results.engine != _UNNAMED else results.framework
    model = kept(results.model.name or inputs.model)
    slug = kept(gpu.slug or inputs.gpu)
    engine = kept(program.name or inputs.engine)
    concurrency = inputs.concurrency
    if isinstance(concurrency, str):
        concurrency = math.inf if concurrency == "saturated" else None
    time = found.time
    try:
        moment = milliseconds(time if UTC_TEXT.fullmatch(time) else utc_text(time))
    except ValueError:  # There is no such day.
        return None
    setup = (
        kept(found.source),
        kept(found.kind),
        model,
        slug,
        kept(gpu.name) or slug,
        layout.num_gpus or inputs.num_gpus,
        layout_text(layout.tp, layout.pp, layout.dp, layout.ep),
        engine,
        kept(program.label) or engine,
        precision_text(precision.weights, precision.activations, precision.kv_cache) or kept(inputs.precision),
        kept(inputs.note),
        results.fits,
    )
    numbers = (
        inputs.input_tokens,
        inputs.output_tokens,
        concurrency,
        results.memory_bytes_per_gpu.total,
        results.memory_bytes_per_gpu.capacity,
        results.ttft_ms.value,
        results.tpot_ms.value,
        results.output_tokens_per_s.value,
        results.output_tokens_per_s_per_user.value,
        results.usd_per_hour.value,
    )
    return found.run_id, moment, setup, numbers


def entry(row: Row) -> Entry:
    """The entry of a row."""
    return row.run_id, milliseconds(row.time), _setup_of(row), _numbers_of(row)


def _carefully(line: bytes) -> Entry | None:
    run = run_of(line)
    return None if run is None else entry(Row.of(run))


def _fields_of(names: Sequence[str]) -> Callable[[Row], tuple[Any, ...]]:
    """How to read these fields of a row."""
    return itemgetter(*map(Row._fields.index, names))


_setup_of, _numbers_of = _fields_of(SETUP_FIELDS), _fields_of(NUMBERS)
