"""The fit of training coefficients: it finds what made the data, and falls back to what is expected."""

import csv
import dataclasses

import numpy as np
import pytest
from click.testing import CliRunner

from app import training_catalog
from app.calculations.training.coefficients import TrainingEfficiency, levels
from app.calculations.training.step import step_time
from app.calculations.training.work import work
from app.calibration.ranges import Residual
from app.calibration.training import HELD, Measured, Problem, inside, quantiles, range_of
from app.command_line.main import main
from tests.calculations.training.settings import setting
from tests.test_training_measurements import COLUMNS, row

MODELS = ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-2-13b-hf", "meta-llama/Llama-3.1-70B")


def made(deviations=None, models=MODELS):
    """Steps of three models at four lengths, as made by these deviations."""
    efficiency = TrainingEfficiency(priors=training_catalog.priors(), deviations=deviations or {})
    runs = []
    for model in models:
        for length in (2048, 4096, 8192, 16_384):
            one = setting(model, seq_len=length, num_gpus=64, tp=8)
            done, belongs = work(one), levels(one)
            runs.append(
                Measured(
                    identifier=f"{model}-{length}",
                    source="made",
                    model=model,
                    gpu=one.gpu.slug,
                    configuration=f"{model} {length}",
                    kind="dense-16-bit",
                    framework="megatron",
                    work=done,
                    levels=belongs,
                    seconds=float(step_time(done, efficiency.coefficients(belongs)).total),
                )
            )
    return runs


def test_nothing_moves_where_everything_is_as_expected():
    problem = Problem(made())
    assert problem.fit() == pytest.approx(np.zeros(len(problem.parameters)), abs=1e-6)


def test_steps_slower_than_expected_are_fitted():
    problem = Problem(made({("all", ""): {"products": -0.2}}))
    found = problem.fit()
    assert np.abs(problem.errors(found)).max() < 0.02
    assert np.abs(problem.errors(np.zeros(len(found)))).min() > 0.05


def test_what_is_left_out_is_predicted_by_the_others():
    problem = Problem(made({("all", ""): {"products": -0.2}}))
    errors = problem.left_out("models", problem.fit())
    assert np.abs(errors).max() < 0.05


def test_one_wild_run_does_not_decide():
    runs = made()
    runs[0] = dataclasses.replace(runs[0], seconds=3 * runs[0].seconds)
    problem = Problem(runs)
    assert np.abs(problem.errors(problem.fit())[1:]).max() < 0.1


def residual(ratio, group, source="s"):
    return Residual("dense-16-bit", "megatron", source, group, ratio)


def test_quantiles_and_what_they_hold():
    found = [residual(0.5 + n / 1000, f"pair {n % 40}") for n in range(1000)]
    assert quantiles(found, 0.1) == pytest.approx((0.6, 1.4), abs=0.01)
    assert inside(found, 0.1, lambda one: one.group) == pytest.approx(0.8, abs=0.05)
    assert range_of("dense-16-bit", "megatron", "interpolated", found, lambda one: one.group).coverage == (
        pytest.approx(HELD, abs=0.03)
    )


def test_calibrate_takes_training_tables(tmp_path):
    table = tmp_path / "table.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for number, (model, value) in enumerate([("meta-llama/Llama-3.1-70B", 800), ("meta-llama/Llama-3.1-8B", 6000)]):
            for gpus in (64, 128, 256):
                one = row(id=f"{number}-{gpus}-tps", model=model, value=value, num_gpus=gpus, dp=gpus // 8)
                writer.writerow(one)
    efficiency, ranges = tmp_path / "efficiency.csv", tmp_path / "ranges.csv"
    arguments = ["calibrate", str(table), "--efficiency", str(efficiency), "--output", str(ranges)]
    result = CliRunner().invoke(main, [*arguments, "--leave-out", "models"])
    assert result.exit_code == 0, result.output
    assert "left out: models" in result.output
    with efficiency.open(encoding="utf-8", newline="") as file:
        assert tuple(next(csv.reader(file))) == training_catalog.EFFICIENCY_COLUMNS
    with ranges.open(encoding="utf-8", newline="") as file:
        assert {line["nearness"] for line in csv.DictReader(file)} == {"interpolated", "extrapolated"}
