"""How a measurement was made, as its table tells it: engine and era, how requests arrived, what was assumed.

Tables have no column for the benchmark's procedure; the words of `notes` and the documented procedure of the source
say it (app/measurements/benchmarks.py). Nothing here depends on a measured value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from app import catalog
from app.calculations.engine import Engine, release
from app.calculations.goodput import Limits
from app.measurements.benchmarks import Row, benchmark_of

#: Engines that tables spell differently.
SPELLINGS = {
    "llama.cpp": "llamacpp",
    "hf-transformers": "hf",
    "transformers": "hf",
    "mlc-llm": "mlc",
    "exllama": "mlc",
    "exllamav2": "mlc",
    "lmdeploy-turbomind": "lmdeploy",
    "lmdeploy-pytorch": "lmdeploy",
    "tensorrt-llm": "trtllm",
    "optimum-habana-deepspeed": "optimum-habana",
}
#: Software of an engine's version that makes it another engine.
IN_VERSION = {"optimum-habana": "optimum-habana"}
FALLBACK = "vllm"

#: Words of the notes that mean a batch that starts and ends together.
STATIC = re.compile(
    r"static batch|static inference|whole[- ]batch|submitted at once|sent at once|one static|batch at once", re.I
)
AT_ONCE = re.compile(
    r"queued at once|request rate inf|infinite request rate|QPS[= ]inf|submitted at once|sent at once", re.I
)
RATE = re.compile(r"(?:QPS[= ]|request rate |scheduled )(\d+(?:\.\d+)?)", re.I)
REQUESTS = re.compile(r"\b(\d[\d,]*) (?:\w+ )?(?:requests|prompts)\b")
LIMIT = re.compile(r"max[-_]num[-_]seqs[ =]*(\d+)|max_batch_size (\d+)/rank|max batch (\d+)/engine")
STEP_TOKENS = re.compile(r"max[-_]num[-_]batched[-_]tokens[ =]*(\d+)")
#: Limits in ms that a benchmark keeps while it seeks the highest rate of arrivals (MLPerf Server and Interactive).
LIMITS = re.compile(r"limits p99 TTFT (\d+(?:\.\d+)?) ms TPOT (\d+(?:\.\d+)?) ms")
#: Real prompts and answers: lengths spread widely.
REAL_LENGTHS = re.compile(r"ShareGPT|real dataset|MLPerf", re.I)
#: The table's latency per token is the median over steps.
MEDIAN_STEP = re.compile(r"^\s*median itl|; median itl|median per-token", re.I)
#: Long runs from which the first wave is cut off.
STEADY = re.compile(r"steady[- ]state", re.I)
#: The engine's limit of sequences is what holds the concurrency (ML.ENERGY: max_num_seqs is swept).
LIMITED = re.compile(r"avg_batch_size=")
#: The engine's options run the attention of mixtures in replicas, where the table states tensor parallelism.
ATTENTION_DP = re.compile(r"attention DP for MoE", re.I)
#: Requests of a run over requests in flight, where the table does not say: that of most benchmark clients' scripts
#: (InferenceX: --num-prompts of ten times --max-concurrency).
WAVES = 10.0
#: Lengths of a table of synthetic requests: all equal.
EQUAL, WIDE = 0.0, 1.0
MILLISECONDS = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What a row's procedure means for the estimate; `assumed` names what the row does not state."""

    engine: Engine
    #: The table's engine is not known; `engine` stands in for it.
    stands_in: bool = False
    arrival: str
    concurrency: int | None
    request_rate: float | None = None
    #: What the 99th percentile had to stay below while the rate of arrivals was raised; None where none was sought.
    limits: Limits | None = None
    #: Requests of a run under arrivals.
    run_requests: int | None = None
    waves: float | None = None
    length_spread: float = WIDE
    kv_precision: str = ""
    collapsed_routing: bool = False
    max_sequences: int | None = None
    step_tokens: int | None = None
    #: Of mixtures: the GPUs that the table gives as tensor parallel hold copies of the attention and share the experts.
    attention_dp: bool = False
    #: Tokens drafted before each decode step and the chance that one is accepted.
    draft_tokens: int = 0
    acceptance_rate: float | None = None
    #: The table's latency per token is the median over steps, not the mean.
    median_step: bool = False
    assumed: tuple[str, ...] = ()


def engine_of(name: str, version: str, date: str) -> tuple[Engine, str]:
    """The era of an engine that a version or a date belongs to, and what had to be assumed."""
    engines = catalog.engines()
    known = next((other for word, other in IN_VERSION.items() if word in version), SPELLINGS.get(name, name))
    family = engines[known].family if known in engines else None
    if family is None:
        return engines[FALLBACK], f"engine {name} is not known, predicted as {engines[FALLBACK].label}"
    eras = catalog.eras(family)
    number = release(version) if family in version.lower() or re.match(r"\s*v?\d", version) else None
    if number is not None:
        return catalog.era(family, number), ""
    fitting = [e for e in eras if not date or e.since_date <= date]
    assumed = "" if number or len(eras) == 1 else f"version not stated, taken by the date {date or 'of today'}"
    return (fitting or eras[:1])[-1], assumed


def first(pattern: re.Pattern[str], text: str) -> float | None:
    """The first number that a pattern finds."""
    found = pattern.search(text)
    return float(next(group for group in found.groups() if group).replace(",", "")) if found else None


def limits_of(notes: str) -> Limits | None:
    """The limits that a row states."""
    if (found := LIMITS.search(notes)) is None:
        return None
    ttft, tpot = (float(text) / MILLISECONDS for text in found.groups())
    return Limits(ttft_seconds=ttft, tpot_seconds=tpot, statistic="p99")


def protocol(row: Row) -> Protocol:
    """The procedure of a row."""
    notes = row.get("notes") or ""
    version = row.get("engine_version") or ""
    engine, assumed = engine_of(row["engine"], version, row.get("source_date") or "")
    stands_in = "not known" in assumed
    stated = row.get("concurrency") or ""
    concurrency = round(float(stated)) if stated not in ("", "saturated") else None
    requests = first(REQUESTS, notes)
    limit = first(LIMIT, notes)
    rate = first(RATE, notes) if concurrency is None and not AT_ONCE.search(notes) else None
    arrival, waves = "closed", None
    if rate is not None and stated != "saturated":
        arrival = "open"
    elif STATIC.search(notes) and concurrency is not None:
        arrival = "burst" if engine.continuous and AT_ONCE.search(notes) else "static"
    elif concurrency is None and requests is not None:
        arrival, concurrency = "burst", round(requests)
    elif not STEADY.search(notes) and concurrency is not None:
        waves = max(1.0, requests / concurrency) if requests else WAVES
    spread = WIDE if REAL_LENGTHS.search(notes) else EQUAL
    kv_precision = row.get("kv_precision") or ""
    told = [assumed] if assumed else []
    draft_tokens, acceptance_rate = 0, None
    if benchmark := benchmark_of(row):
        spread = benchmark.length_spread
        if not kv_precision and (set_by_script := benchmark.kv_precision(row)):
            kv_precision = set_by_script
            told.append(f"{kv_precision.upper()} cache, as that benchmark's launch scripts set it")
        if drafting := benchmark.drafting(row):
            draft_tokens, acceptance_rate = drafting
            told.append(f"{draft_tokens} tokens drafted a step, as that benchmark's launch scripts set it")
    if LIMITED.search(notes) and concurrency is not None:
        limit = concurrency
    return Protocol(
        engine=engine,
        stands_in=stands_in,
        arrival=arrival,
        concurrency=concurrency,
        request_rate=rate if arrival == "open" else None,
        limits=limits_of(notes) if arrival == "open" else None,
        run_requests=round(requests) if requests and arrival == "open" else None,
        waves=waves,
        length_spread=spread,
        kv_precision=kv_precision,
        collapsed_routing="fake weights" in notes,
        max_sequences=round(limit) if limit else None,
        step_tokens=round(found) if (found := first(STEP_TOKENS, notes)) else None,
        attention_dp=ATTENTION_DP.search(notes) is not None,
        draft_tokens=draft_tokens,
        acceptance_rate=acceptance_rate,
        median_step=MEDIAN_STEP.search(notes) is not None,
        assumed=tuple(told),
    )
