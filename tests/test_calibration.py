"""Ranges: percentiles of measured over predicted, honest on what was left out."""

import csv
from dataclasses import replace
from zlib import crc32

import pytest
from click.testing import CliRunner

from app import catalog
from app.calculations import estimate, results
from app.calculations.uncertainty import (
    ANY,
    EXTRAPOLATED,
    INTERPOLATED,
    METRIC_CLASS,
    NEARBY,
    NEARNESS,
    Measured,
    Spread,
    spread,
)
from app.calibration import left_out
from app.calibration.ranges import FOLDS, Residual, coverage, percentile, ranges, residuals, spread_of
from app.command_line.main import main
from app.scenarios import serving_scenario
from tests.test_validation import SERVING


def residual(ratio, source="s", group="g", engine="vllm", metric="tpot"):
    return Residual(metric, engine, source, group, ratio)


def test_percentiles_let_a_source_weigh_as_the_root_of_its_rows():
    many = [residual(1.0, "large", str(n)) for n in range(1000)]
    few = [residual(2.0, "small", str(n)) for n in range(10)]
    assert percentile(many + few, 0.9) == 1.0  # sqrt(1000) against sqrt(10)
    assert percentile(many + few, 0.92) == 2.0


def test_a_range_holds_eighty_percent_of_what_it_was_left_out_of():
    found = [residual(0.5 + n / 1000, group=f"pair {n % 40}") for n in range(1000)]
    assert coverage(found, spread_of) == pytest.approx(0.8, abs=0.05)


def test_a_row_that_is_left_out_in_two_ways_widens_the_range_and_counts_once():
    alone = [residual(1.0, group=f"pair {n % 10}") for n in range(100)]
    with_its_source = [replace(one, ratio=2.0, again=True) for one in alone]
    assert spread_of(alone).high == 1.0
    assert spread_of(alone + with_its_source) == Spread(low=1.0, high=2.0, rows=100, groups=10)


def test_every_distance_counts_rows_with_their_source_left_out_too():
    found = left_out.errors_at({"runs": [0.1], "pairs": [0.2], "gpus": [0.3], "sources": [0.4]})
    assert found == {NEARBY: ([0.1], [0.4]), INTERPOLATED: ([0.2], [0.4]), EXTRAPOLATED: ([0.3], [0.4])}


def test_an_engine_with_few_measurements_takes_the_range_of_all():
    enough = [residual(1.0 + n / 1000, group=f"pair {n % 10}") for n in range(100)]
    few = [residual(3.0, engine="tgi", group=f"pair {n}") for n in range(5)]
    lines = ranges(enough + few)
    assert [(line.metric, line.engine) for line in lines] == [("tpot", "vllm"), ("tpot", ANY)]


def test_an_engine_whose_range_fails_on_left_out_pairs_is_widened_by_that_of_all():
    even = [residual(0.1 + n / 100, engine="vllm", group=f"pair {n % 10}") for n in range(200)]
    names = 2 * [f"other {n}" for n in range(40)]
    uneven = [
        residual(2.0 ** (crc32(name.encode()) % FOLDS), engine="sglang", group=name) for name in names for _ in "ab"
    ]
    found = {line.engine: line.spread for line in ranges(even + uneven)}
    own = spread_of(uneven)
    assert found["sglang"].low == min(own.low, found[ANY].low) < own.low


def test_a_range_holds_the_value_and_inverts():
    measured_faster = Spread(low=0.5, high=0.8, rows=1, groups=1)
    assert measured_faster.around(10.0) == (5.0, 10.0)
    assert measured_faster.inverse() == Spread(low=1.25, high=2.0, rows=1, groups=1)


def test_an_unknown_engine_falls_back_and_nothing_measured_is_no_range():
    spreads = {("tpot", ANY, NEARBY): Spread(low=0.9, high=1.1, rows=9, groups=9)}
    assert spread(spreads, "tpot", "new", NEARBY).high == 1.1
    assert spread(spreads, "power", "new", NEARBY) is None


def test_nearness_tells_the_model_measured_here_from_another_model_and_another_accelerator():
    measured = Measured(triples=frozenset({("vllm", "h100-sxm", "a/b")}))
    assert measured.nearness("vllm", "h100-sxm", "a/b") == NEARBY
    assert measured.nearness("vllm", "h100-sxm", "a/c") == INTERPOLATED
    assert measured.nearness("vllm", "b200", "a/b") == EXTRAPOLATED
    assert measured.nearness("sglang", "h100-sxm", "a/b") == EXTRAPOLATED


def test_a_range_is_never_narrower_than_that_of_a_nearer_question():
    near = [residual(0.5 + n / 100, group=f"pair {n % 10}") for n in range(100)]
    far = [replace(one, ratio=one.ratio**0.5, nearness=EXTRAPOLATED) for one in near]
    found = {line.nearness: line.spread for line in ranges(near + far) if line.engine == ANY}
    assert found[EXTRAPOLATED].low == found[INTERPOLATED].low and found[EXTRAPOLATED].high == found[INTERPOLATED].high


def test_the_shipped_ranges_widen_with_distance():
    spreads = catalog.spreads()
    for (metric, engine, nearness), one in spreads.items():
        nearer = spreads.get((metric, engine, NEARNESS[max(0, NEARNESS.index(nearness) - 1)]))
        if nearer is not None:
            assert one.low <= nearer.low and one.high >= nearer.high, (metric, engine, nearness)


def test_an_estimate_says_how_near_it_is_and_takes_that_range():
    engine, gpu, model = sorted(catalog.measured().triples)[0]
    here = {"model": model, "engine": engine, "gpu": gpu}
    other = next(slug for slug in catalog.gpus() if (engine, slug) not in catalog.measured().pairs)
    near, far = (results(estimate(serving_scenario(raw)[0])) for raw in (here, here | {"gpu": other, "num_gpus": 8}))
    assert (near["nearness"], far["nearness"]) == (NEARBY, EXTRAPOLATED)
    wide = [one["output_tokens_per_s"]["high"] / one["output_tokens_per_s"]["low"] for one in (near, far)]
    assert wide[0] < wide[1]


def test_the_shipped_ranges_cover_every_metric_and_say_how_often_they_hold():
    with (catalog.DATA / "ranges.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert {line["metric"] for line in lines if line["engine"] == ANY} == set(METRIC_CLASS.values())
    for line in lines:
        assert 0 < float(line["low"]) < float(line["high"]) and line["sources"]
        assert 0 <= float(line["coverage"]) <= 1
        assert line["engine"] == ANY or line["engine"] in catalog.engines()
        if line["engine"] == ANY and line["nearness"] == INTERPOLATED:
            assert 0.75 <= float(line["coverage"]) <= 0.86, line["metric"]


def test_every_speed_of_an_estimate_has_a_range_around_it_and_exact_numbers_have_none():
    scenario, _ = serving_scenario({})
    found = results(estimate(scenario))
    for name in (*(m for m in METRIC_CLASS if m != "itl_ms"), "usd_per_million_tokens", "output_tokens_per_s_per_user"):
        one = found[name]
        assert one["low"] <= one["value"] <= one["high"] and one["low"] < one["high"], name
    assert found["usd_per_hour"]["low"] is None


def test_the_command_fits_the_ranges_of_its_tables(tmp_path):
    table = tmp_path / "serving.csv"
    rows = [SERVING | {"id": str(n), "value": str(8 + n / 20), "source": "s"} for n in range(80)]
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, SERVING)
        writer.writeheader()
        writer.writerows([*rows, SERVING | {"id": "x", "value": "1000", "notes": "FLAG=doubtful"}])
    output = tmp_path / "ranges.csv"
    done = CliRunner().invoke(main, ["calibrate", str(table), "--output", str(output)])
    assert done.exit_code == 0 and "tpot any" in done.stdout
    near, *_ = catalog.rows(output, catalog.RANGE_COLUMNS)
    assert near["nearness"] == NEARBY and near["rows"] == "80"
    assert float(near["high"]) / float(near["low"]) == pytest.approx(11.6 / 8.4, rel=0.03)


def test_latencies_of_unlimited_load_are_left_out():
    ttft = SERVING | {"metric": "ttft_ms", "value": "50"}
    kept = [
        ttft | {"concurrency": "1"},
        ttft | {"concurrency": "64"},
        ttft | {"concurrency": "4", "notes": "static batch"},
    ]
    unlimited = [ttft | {"concurrency": "saturated"}, ttft | {"concurrency": ""}]
    assert len(list(residuals("serving", kept + unlimited))) == 3


def test_only_tables_of_speed_can_be_used(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("kv_tokens_or_blocks,unit\n1,tokens\n")
    done = CliRunner().invoke(main, ["calibrate", str(path)])
    assert done.exit_code == 2 and "serving speed" in done.stderr
