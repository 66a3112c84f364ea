"""The work that is shown is the work that was done: rows add up to steps, and every line follows from those above."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from app.calculations import estimate
from app.calculations.chain import chain
from app.calculations.layout_estimate import LayoutEstimate
from app.calculations.work import Row, operator_tables, used_peaks, work
from app.scenarios import serving_scenario

SCENARIOS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "one request": {"concurrency": 1},
    "one token": {"output_tokens": 1},
    "long prompts in chunks": {"input_tokens": 30_000, "concurrency": 40},
    "more than run at once": {"gpu": "l40s", "num_gpus": 1, "concurrency": 900, "input_tokens": 4000},
    "a run with an end": {"waves": 4, "concurrency": 64},
    "an end, and more than run": {"waves": 4, "gpu": "l40s", "num_gpus": 1, "concurrency": 900, "input_tokens": 4000},
    "equal lengths": {"length_spread": 0, "concurrency": 64},
    "saturated": {"concurrency": "saturated"},
    "stages": {"model": "meta-llama/Llama-3.1-70B-Instruct", "tp": 2, "pp": 2, "dp": 1, "num_gpus": 4},
    "uneven replicas": {"tp": 1, "pp": 1, "dp": 3, "num_gpus": 3, "concurrency": 16},
    "experts": {"model": "deepseek-ai/DeepSeek-V3", "gpu": "h200-sxm", "num_gpus": 16},
    "windows": {"model": "openai/gpt-oss-120b"},
    "recurrent": {"model": "Qwen/Qwen3.5-27B"},
    "prompts first": {"engine": "llama.cpp", "concurrency": 8},
    "whole prompts": {"engine": "tensorrt-llm", "chunked_prefill": "off", "concurrency": 32},
    "static batch": {"arrival": "static", "concurrency": 8},
    "static, in rounds": {"arrival": "static", "gpu": "l40s", "num_gpus": 1, "concurrency": 900, "input_tokens": 4000},
    "all at once": {"arrival": "burst", "concurrency": 8},
    "all at once, some put back": {
        "arrival": "burst",
        "gpu": "l40s",
        "num_gpus": 1,
        "concurrency": 200,
        "output_tokens": 2000,
        "length_spread": 0.0,
    },
    "all at once, one token": {"arrival": "burst", "concurrency": 8, "output_tokens": 1},
    "open": {"arrival": "open", "request_rate": 3},
    "open, replicas": {"arrival": "open", "request_rate": 9, "tp": 1, "pp": 1, "dp": 3, "num_gpus": 3},
    "open, a finite run": {"arrival": "open", "request_rate": 9, "run_requests": 200},
    "open, overloaded, a finite run": {"arrival": "open", "request_rate": 5000, "run_requests": 200},
    "open, overloaded": {"arrival": "open", "request_rate": 5000},
    "pools": {"model": "meta-llama/Llama-3.1-70B-Instruct", "num_gpus": 8, "prefill_gpus": 4, "tp": 4},
    "pools of one": {"num_gpus": 3, "prefill_gpus": 1, "concurrency": 200, "draft_tokens": 2},
    "pools, more than run at once": {"num_gpus": 2, "prefill_gpus": 1, "concurrency": 3000},
    "pools, one request": {"num_gpus": 2, "prefill_gpus": 1, "concurrency": 1},
    "padded": {"engine": "hf", "prompt_spread": 0.6, "concurrency": 8},
    "padded, one by one": {"padding_removal": "off", "prompt_spread": 0.6, "concurrency": 64},
    "host beside the GPU": {"engine": "vllm-v1", "overlap_scheduling": "on", "cuda_graphs": "off"},
    "host after the GPU": {"engine": "sglang", "overlap_scheduling": "off"},
    "drafts": {"draft_tokens": 4, "concurrency": 64},
    "drafts, equal lengths, an end": {"draft_tokens": 2, "length_spread": 0, "waves": 4, "acceptance_rate": 1},
    "drafts, static batch": {"draft_tokens": 4, "arrival": "static"},
    "drafts, all at once": {"draft_tokens": 4, "arrival": "burst"},
    "drafts, open": {"draft_tokens": 4, "arrival": "open", "request_rate": 3},
    "drafts, overloaded": {"draft_tokens": 4, "arrival": "open", "request_rate": 5000},
    "drafts, recurrent": {"draft_tokens": 3, "model": "Qwen/Qwen3.5-27B"},
    "drafts, one token": {"draft_tokens": 3, "output_tokens": 1},
    "drafts, two tokens": {"draft_tokens": 3, "output_tokens": 2},
}


def best(name: str) -> LayoutEstimate:
    scenario, _ = serving_scenario(SCENARIOS[name])
    return estimate(scenario).best


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_rows_of_a_step_add_up_to_its_time(name: str) -> None:
    found = best(name)
    assert found.speed is not None
    tables = operator_tables(found)
    for phase, seconds in (("prefill", found.speed.prefill), ("decode", found.speed.decode)):
        rows = tables[phase]["rows"]
        assert math.fsum(row["seconds"] for row in rows) == pytest.approx(seconds.total, rel=1e-12)
        assert tables[phase]["seconds"] == seconds.total
        assert math.fsum(row["share"] for row in rows) == pytest.approx(1, rel=1e-12)


def evaluated(expression: str, symbols: dict[str, float]) -> float:
    functions = {"min": min, "max": max, "log": math.log, "exp": math.exp}
    return float(eval(expression, {"__builtins__": {}}, symbols | functions))


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_line_follows_from_those_above(name: str) -> None:
    symbols: dict[str, float] = {}
    for line in chain(best(name)):
        assert line.symbol not in symbols
        if line.expression:
            assert evaluated(line.expression, symbols) == pytest.approx(line.value, rel=1e-9), line
        symbols[line.symbol] = line.value


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_chain_ends_in_the_numbers_of_the_estimate(name: str) -> None:
    found = best(name)
    speed = found.speed
    assert speed is not None
    values = {line.symbol: line.value for line in chain(found)}
    assert values["requests"] == speed.requests_per_second
    assert values["output"] == speed.requests_per_second * found.scenario.output_tokens
    assert values.get("TPOT") == speed.tpot_seconds
    if math.isfinite(speed.ttft_seconds):
        assert (values["TTFT"], values["e2e"]) == (speed.ttft_seconds, speed.e2e_seconds)


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_operator_is_better_than_its_roof(name: str) -> None:
    for table in operator_tables(best(name)).values():
        for row in table["rows"]:
            assert row["seconds"] >= 0
            assert row["share_of_peak"] is None or 0 < row["share_of_peak"] <= 1.05, row
            assert row["component"] == "host" or row["bound_by"] in ("compute", "memory", "network", "launch")


def test_a_row_knows_its_intensity_and_what_it_reaches() -> None:
    row = Row(
        name="up", component="feed_forward", count=2, flops=4e12, bytes=2e9, seconds=0.01, bound_by="compute",
        peak="bf16", peak_flops_per_second=1e15, bytes_per_second=2e12,
    )  # fmt: skip
    assert (row.intensity, row.compute_share, row.bandwidth_share) == (2000, 0.4, 0.1)


def test_what_only_waits_has_no_intensity() -> None:
    host = Row(name="host", component="host", count=1, flops=0.0, bytes=0.0, seconds=0.001, bound_by="host")
    assert (host.intensity, host.compute_share, host.bandwidth_share) == (None, None, None)


def test_layers_of_two_kinds_are_one_row() -> None:
    found = best("windows")
    rows = operator_tables(found)["decode"]["rows"]
    names = [(row["name"], row["component"], row["peak"]) for row in rows]
    assert len(names) == len(set(names))
    attention = next(row for row in rows if row["name"] == "attention")
    assert attention["count"] == found.scenario.model.num_layers


def test_only_the_peaks_that_are_used_are_named() -> None:
    found = best("defaults")
    assert set(used_peaks(found, operator_tables(found).values())) == {"bf16"}


def test_where_nothing_runs_there_is_nothing_to_show() -> None:
    scenario, _ = serving_scenario({"model": "meta-llama/Llama-3.1-70B-Instruct", "gpu": "t4", "num_gpus": 1})
    document = work(estimate(scenario).best)
    assert (document["steps"], document["chain"]) == ({}, [])


@pytest.mark.parametrize("name", SCENARIOS)
def test_it_is_plain_data(name: str) -> None:
    json.dumps(work(best(name)), allow_nan=False)
