"""The fit of power: known coefficients are found again, few rows stay near the expected, energy follows from watts."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from app import catalog
from app.accuracy import scoring
from app.calculations.coefficients import Efficiency
from app.calculations.energy import Activity, PowerModel, power_watts
from app.calibration import folds, power
from app.command_line.main import main
from app.measurements import published
from tests.test_validation import SERVING

IDLE = 0.2
TRUE = PowerModel(
    idle=IDLE, awake=0.1, joules_per_byte=60e-12, joules_per_flop=1e-12, factors={("gpu", "h100-sxm"): 1.0}
)


def observed(number, watts=None, gpu="h100-sxm", **changes):
    """Row `number` of a grid of activities, measured as TRUE has it."""
    active = Activity(
        awake=1.0, bytes_per_second=(number % 7) * 0.4e12, flops_per_second=(number % 5) * 0.1e15 + 1e13 * (number % 3)
    )
    row = power.Observed(
        identifier=str(number), run=str(number), source="s", metric="power_w_per_gpu", measured=1.0, engine="vllm",
        stands_in=False, model=f"m{number}", gpu=gpu, generation="hopper", num_gpus=2, tdp_watts=700.0,
        activity=active, tokens_per_second=1000.0,
    )  # fmt: skip
    return replace(row, measured=watts or float(power_watts(700.0, TRUE, active)), **changes)


def test_coefficients_that_made_the_watts_are_found_again():
    found = {one.name: one for one in power.fit([observed(n) for n in range(2000)], IDLE) if not one.key}
    expected = {"awake": 0.1, "byte": 60.0, "flop": 1.0}
    assert {name: one.value for name, one in found.items()} == pytest.approx(expected, rel=0.15)
    assert all(one.rows == 2000 and 0 < one.standard_error < one.value for one in found.values())


def test_without_measurements_stays_what_is_expected():
    found = power.fit([], IDLE)
    assert [(one.name, one.value) for one in found] == [
        (name, pytest.approx(prior.expected)) for name, prior in power.SHARED.items()
    ]


def test_one_row_moves_the_factor_of_its_gpu_less_than_many_do():
    hot = [observed(n, gpu="h20") for n in range(1000)]
    doubled = [replace(row, measured=row.measured * 1.3) for row in hot]

    def factor(count):
        known = [observed(n) for n in range(1000)]
        return power.power_model(power.fit([*known, *doubled[:count]], IDLE), IDLE).factor("hopper", "h20")

    assert 1.0 < factor(1) < factor(1000) < 1.6


def test_the_same_rows_give_the_same_numbers():
    rows = [observed(n) for n in range(50)]
    assert power.fit(rows, IDLE) == power.fit(list(rows), IDLE)


def test_energy_rows_are_judged_but_not_fitted_to():
    rows = [observed(n) for n in range(50)]
    wrong = [replace(row, metric="energy_j_per_token", measured=99.0) for row in rows]
    assert power.fit(rows + wrong, IDLE) == power.fit(rows, IDLE)
    assert wrong[0].quantity(500.0) == pytest.approx(500.0 * 2 / 1000.0)


def test_energy_from_watts_alone_errs_as_the_watts_do():
    watts = observed(1, watts=400.0)
    energy = replace(watts, identifier="e", metric="energy_j_per_token", measured=0.5)
    found = power.LeftOut(rows=(watts, energy), watts=(440.0, 440.0))
    (one,) = found.at_measured_throughput()
    assert one.error == pytest.approx(0.1)
    assert np.exp(found.errors) == pytest.approx([400 / 440, 0.5 / 0.88])


def rows_of_runs(models=("Llama-3.1-8B-Instruct", "Llama-3.1-70B-Instruct"), watts="500"):
    base = SERVING | {"num_gpus": "2", "tp": "2", "concurrency": "8"}
    for number, model in enumerate(models):
        shared = base | {"model": f"meta-llama/{model}"}
        yield shared | {"id": f"p{number}", "metric": "power_w_per_gpu", "value": watts}
        yield shared | {"id": f"e{number}", "metric": "energy_j_per_token", "value": "1"}
        yield shared | {"id": f"x{number}", "metric": "power_w_per_gpu", "value": "5", "notes": "FLAG=idle"}


def test_a_left_out_prediction_does_not_know_its_own_pair():
    """What is measured of a pair moves the predictions of the others, and not its own."""
    speed = Efficiency()

    def predicted(watts):
        rows = [*rows_of_runs(watts="500")]
        rows[0] |= {"value": watts}
        left = power.left_out(rows, list(power.observe(rows, speed)), lambda fold: speed, "pairs", IDLE)
        return dict(zip((row.identifier for row in left.rows), left.watts, strict=True))

    low, high = predicted("300"), predicted("600")
    assert set(low) == {"p0", "e0", "p1", "e1"}
    assert low["p0"] == pytest.approx(high["p0"]) and low["e0"] == pytest.approx(low["p0"])
    assert low["p1"] < high["p1"]


def test_watts_of_pairs_that_were_left_out_are_met():
    """Every fourth published measurement of power, speeds as calibrated: the mean of the two sources' medians."""
    rows = [row for row in published.serving() if scoring.metric_class(row) == "power"][::4]
    speed = catalog.efficiency()
    left = power.left_out(rows, list(power.observe(rows, speed)), lambda fold: speed, "pairs", IDLE)
    found = scoring.headlines(folds.judged(left.rows, left.errors))["power"]
    assert found.sources == 2 and found.pooled.rows > 100
    assert found.mean_of_source_medians < 0.11
    assert abs(found.pooled.bias) < 0.05


def test_the_command_writes_coefficients_that_the_catalogue_reads(tmp_path, monkeypatch):
    table, output, accuracy = (tmp_path / name for name in ("serving.csv", "power.csv", "accuracy.csv.gz"))
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, SERVING)
        writer.writeheader()
        writer.writerows(rows_of_runs())
    asked = ["calibrate", str(table), "--power", str(output), "--accuracy", str(accuracy)]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 0, done.output
    assert "s power" in done.stdout and "s energy at measured rate" in done.stdout and "pJ/byte" in done.stdout
    again = CliRunner().invoke(main, asked)
    assert again.stdout == done.stdout
    monkeypatch.setattr(catalog, "POWER", output)
    assert catalog.power_model(IDLE).factor("hopper", "h100-sxm") != 1.0
    _, lines = published.read(accuracy)
    assert [line[0] for line in lines] == ["e0", "e1", "p0", "p1"]
    limits = {line[0]: float(line[4]) for line in lines}
    assert limits["p0"] == 700.0 and 0 < limits["e0"] < limits["e1"]
