"""A user's own measurements on top of the published calibration: kept, used by name, and named in what they made."""

from __future__ import annotations

import csv
import json

import pytest
from click.testing import CliRunner

from app import catalog
from app.command_line.main import main
from tests.test_validation import SERVING


def cli(*args):
    return CliRunner().invoke(main, list(map(str, args)))


@pytest.fixture(autouse=True)
def directories(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("LOG_DIR", str(tmp_path / "log"))


def tpot(*options):
    done = cli("estimate", "--model", SERVING["model"], "--tp", 1, "--json", *options)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)["results"]


@pytest.fixture
def twice_as_slow(tmp_path):
    """A cluster on which every token takes twice as long as is published."""
    published = {batch: tpot("--concurrency", batch)["tpot_ms"]["value"] for batch in (1, 4, 16, 64)}
    path = tmp_path / "mine.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, SERVING)
        writer.writeheader()
        for batch, value in published.items():
            changes = {"id": f"b{batch}", "concurrency": str(batch), "value": str(2 * value), "source": "mine"}
            writer.writerow(SERVING | changes)
    return path


def test_estimates_made_with_it_come_near_the_measurements_and_name_it(twice_as_slow):
    done = cli("calibrate", twice_as_slow, "--save", "Our cluster")
    assert done.exit_code == 0 and "Our cluster" in done.stdout
    before, after = tpot(), tpot("--calibration", "our cluster")
    assert (before["calibration"], after["calibration"]) == (catalog.PUBLISHED, "Our cluster")
    assert after["tpot_ms"]["value"] == pytest.approx(2 * before["tpot_ms"]["value"], rel=0.15)


def test_the_errors_before_and_after_are_told(twice_as_slow):
    done = cli("calibrate", twice_as_slow, "--save", "ours", "--json")
    found = json.loads(done.stdout)
    (errors,) = [one["median_errors"] for one in found["errors"]]
    assert found["saved"] == "ours" and errors["published"] == pytest.approx(0.5, abs=0.05)
    assert errors["yours"] < 0.1 and errors["left out"] < 0.25


def test_what_it_does_not_tell_stays_as_published(twice_as_slow):
    cli("calibrate", twice_as_slow, "--save", "ours")
    other = ("--gpu", "mi300x", "--engine", "sglang")
    before, after = tpot(*other), tpot(*other, "--calibration", "ours")
    assert after["ttft_ms"]["value"] == pytest.approx(before["ttft_ms"]["value"], rel=0.15)


def test_what_was_measured_is_near(twice_as_slow):
    options = ("--gpu", "l40s", "--engine", "deepspeed-mii", "--num-gpus", 1)
    assert tpot(*options)["nearness"] == "extrapolated"
    text = twice_as_slow.read_text().replace("h100-sxm", "l40s").replace("vllm", "deepspeed-mii")
    twice_as_slow.write_text(text)
    cli("calibrate", twice_as_slow, "--save", "ours")
    assert tpot(*options, "--calibration", "ours")["nearness"] == "nearby"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (("--save", "../up"), "name"),
        (("--save", "published"), "name"),
        (("--replace",), "replace"),
        (("--save", "ours", "--efficiency", "x.csv"), "efficiency"),
    ],
)
def test_what_cannot_be_is_refused_by_name(twice_as_slow, options, field):
    done = cli("calibrate", twice_as_slow, *options)
    assert done.exit_code == 2 and f"Error in {field}" in done.stderr


def test_a_name_is_replaced_only_on_demand(twice_as_slow):
    assert cli("calibrate", twice_as_slow, "--save", "ours").exit_code == 0
    assert cli("calibrate", twice_as_slow, "--save", "ours").exit_code == 2
    assert cli("calibrate", twice_as_slow, "--save", "ours", "--replace").exit_code == 0


def test_an_unknown_name_is_told_with_the_nearest(twice_as_slow):
    cli("calibrate", twice_as_slow, "--save", "ours")
    done = cli("estimate", "--calibration", "oors")
    assert done.exit_code == 2 and "calibration" in done.stderr and "ours" in done.stderr


def test_a_file_that_is_no_calibration_is_left_out(tmp_path):
    shelf = tmp_path / "data" / "calibrations"
    shelf.mkdir(parents=True)
    document = {"schema": 1, "name": "bad", "source": "", "notes": [], "saved": "2026-01-01T00:00:00Z"}
    for number, fit in enumerate([{}, {"deviations": [["all", "", "nothing", 0.1]], "measured": []}, [1]]):
        (shelf / f"bad{number}.json").write_text(json.dumps(document | {"name": f"bad{number}", "fit": fit}))
        assert cli("estimate", "--calibration", f"bad{number}").exit_code == 2
