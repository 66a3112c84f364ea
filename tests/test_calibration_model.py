"""What a calibration fits is what an estimate says: compiled rows give the same numbers, for any coefficients."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.accuracy.scoring import metric_class
from app.calculations import estimate
from app.calculations.coefficients import EXPECTED, NAMES, Efficiency
from app.calibration import fit, folds
from app.calibration.compiled import Compiled, compile_rows
from app.calibration.model import Table
from app.measurements.serving import answer, run_of, speed_results

SAMPLE = Path(__file__).parent / "data" / "serving-sample.csv"
#: A row with drafts, which the sample lacks: the launch script of that image sets them.
DRAFTED = {
    "id": "drafted", "source": "inferencex", "source_date": "2026-02", "model": "deepseek-ai/DeepSeek-R1",
    "gpu": "b200", "num_gpus": "8", "tp": "8", "engine": "trtllm", "engine_version": "1.2.0rc6.post3",
    "weight_precision": "fp8", "input_tokens": "1024", "output_tokens": "1024", "concurrency": "16", "value": "1",
    "notes": "",
}  # fmt: skip


def rows() -> list[dict[str, str]]:
    """Every fifth speed of the sample, and one with drafts by every metric of a speed."""
    with SAMPLE.open(encoding="utf-8") as file:
        sample = [row for row in csv.DictReader(file) if metric_class(row) not in (None, "energy", "power")][::5]
    metrics = ("ttft_ms", "tpot_ms", "e2e_latency_ms", "output_tokens_per_s", "requests_per_s")
    return sample + [DRAFTED | {"metric": metric} for metric in metrics]


def deviated(levels: tuple[tuple[str, str], ...], factor: float) -> Efficiency:
    """Every coefficient by the same factor."""
    return Efficiency(deviations={levels[0]: dict.fromkeys(NAMES, float(np.log(factor)))})


@pytest.fixture(scope="module")
def compiled() -> dict[str, tuple[dict[str, str], Compiled]]:
    wanted = {f"{row['id']} {row['metric']}": row for row in rows()}
    return {key: (row, found[0]) for key, row in wanted.items() if (found := compile_rows([row]))}


def test_most_rows_are_compiled_and_some_have_drafts(compiled: dict) -> None:
    assert len(compiled) > 40
    assert {run_of(row).scenario.arrival for row, _ in compiled.values()} >= {"closed", "static", "burst"}
    assert sum(run_of(row).scenario.draft_tokens > 0 for row, _ in compiled.values()) == 5


@pytest.mark.parametrize("factor", [1.0, 1.7])
def test_a_compiled_row_predicts_what_its_estimate_says(compiled: dict, factor: float) -> None:
    expected = np.array([[getattr(EXPECTED, name) * factor for name in NAMES]])
    for key, (row, one) in compiled.items():
        (found,) = Table([one]).predict(expected)
        run = run_of(row)
        chosen = estimate(replace(run.scenario, efficiency=Efficiency())).best.layout
        kept = {"tp": chosen.tp, "pp": chosen.pp, "dp": chosen.dp, "ep": chosen.ep if chosen.ep > 1 else None}
        scenario = replace(run.scenario, efficiency=deviated(one.levels, factor), **kept)
        best = estimate(scenario).best
        assert found == pytest.approx(answer(row, run, best, speed_results(best))["value"], rel=1e-6), key


def test_sources_leave_a_fit_one_by_one_and_all_else_in_five_parts(compiled: dict) -> None:
    some = [one for _, one in compiled.values()]
    sources = {one.source for one in some}
    assert len(sources) > folds.FOLDS
    assert set(folds.folds_of("sources", some)) == sources
    assert len(set(folds.folds_of("pairs", some))) <= folds.FOLDS
    for one in some:
        assert folds.fold_of("pairs", one.pair) == folds.fold_of("pairs", f"{one.model} {one.gpu}")


def test_what_only_a_left_out_source_taught_falls_back_to_what_is_expected(compiled: dict) -> None:
    """Measurements of one source on an engine of its own: without it that engine keeps what is expected."""
    some = [one for _, one in compiled.values()]
    alone = next(one.source for one in some if len({other.source for other in some if other.engine == one.engine}) == 1)
    found = fit.fit(Table(some), rounds=4).deviations
    left = folds.left_out(some, found, "sources")
    engine = next(one.engine for one in some if one.source == alone)
    with_it, without = (fits[("engine", engine)] for fits in (found, left.fit_without(alone)))
    assert max(map(abs, with_it.values())) > 0.01
    assert max(map(abs, without.values())) < 0.1 * max(map(abs, with_it.values()))
    assert left.fit_without("a source that is not in it") == found
