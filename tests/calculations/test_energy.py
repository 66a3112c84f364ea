"""Energy, carbon and electricity of serving: by hand, with ranges, and unknown rather than zero."""

import dataclasses

import pytest

from app import catalog
from app.calculations import InvalidInput, estimate, results
from app.calculations.energy import Grid, kilowatt_hours_per_million, site_watts, watt_hours_per_request
from app.calculations.inputs import inputs_of
from app.calculations.scenario import ServingInputs
from tests.calculations.worlds import scenario

UNKNOWN = {"value": None, "low": None, "high": None}
BEFORE_THE_SITE = ("power_w_per_gpu", "energy_j_per_token")
OF_THE_SITE = (
    "power_w_total",
    "energy_wh_per_request",
    "kwh_per_million_output_tokens",
    "gco2_per_million_output_tokens",
    "electricity_usd_per_hour",
    "electricity_usd_per_million_output_tokens",
)
HALF = Grid(
    slug="half", name="Half", group="Tests", grams_per_kilowatt_hour=500.0, year=2024, basis="life cycle", source="test"
)


def answer(**changes):
    known = {"spreads": catalog.spreads(), "region": HALF, "pue": 1.25, "electricity_usd_per_kwh": 0.1}
    return results(estimate(scenario(**(known | changes))))


def test_the_site_draws_the_power_of_all_gpus_times_pue():
    assert site_watts(500.0, 8, 1.25) == 5000.0


def test_a_request_takes_the_energy_of_its_output_tokens():
    assert watt_hours_per_request(0.36, 1000, 1.0) == pytest.approx(0.1)
    assert watt_hours_per_request(0.36, 1000, 1.5) == pytest.approx(0.15)


def test_a_million_tokens_of_a_joule_are_a_kilowatt_hour_in_3_6():
    assert kilowatt_hours_per_million(3.6, 1.0) == pytest.approx(1.0)
    assert kilowatt_hours_per_million(0.36, 1.5) == pytest.approx(0.15)


def test_the_answer_follows_from_power_and_joules_by_hand():
    found = answer(num_gpus=2, output_tokens=300)
    for end in ("value", "low", "high"):
        watts, joules = (found[name][end] for name in BEFORE_THE_SITE)
        of_the_site = [found[name][end] for name in OF_THE_SITE]
        kwh = joules * 1e6 / 3.6e6 * 1.25
        assert of_the_site == pytest.approx(
            [watts * 2 * 1.25, joules * 300 / 3600 * 1.25, kwh, kwh * 500, watts * 2 * 1.25 / 1000 * 0.1, kwh * 0.1]
        )


def test_the_energy_of_the_requests_of_an_hour_is_the_power_of_that_hour():
    found = answer()
    per_hour = found["requests_per_s"]["value"] * 3600
    assert found["energy_wh_per_request"]["value"] * per_hour == pytest.approx(found["power_w_total"]["value"])


def test_the_grid_stands_in_the_answer_with_its_source():
    assert answer()["grid"] == {
        "slug": "half",
        "name": "Half",
        "gco2_per_kwh": 500.0,
        "year": 2024,
        "basis": "life cycle",
        "source": "test",
    }


def test_a_cleaner_grid_and_a_better_site_emit_less_and_change_nothing_else():
    names = ("power_w_per_gpu", "energy_j_per_token", "usd_per_hour", "ttft_ms")
    coal, hydro = answer(region=catalog.grid("india"), pue=1.6), answer(region=catalog.grid("norway"), pue=1.1)
    carbon = [found["gco2_per_million_output_tokens"]["value"] for found in (coal, hydro)]
    assert carbon[0] / carbon[1] == pytest.approx(708.32 / 30.75 * 1.6 / 1.1)
    assert [coal[name] for name in names] == [hydro[name] for name in names]


def test_a_power_that_is_not_known_leaves_everything_unknown_and_never_zero():
    found = answer_of_a_gpu_without_power()
    assert found["output_tokens_per_s"]["value"]
    for name in (*BEFORE_THE_SITE, *OF_THE_SITE):
        assert found[name] == UNKNOWN, name


def answer_of_a_gpu_without_power():
    asked = scenario(region=HALF, electricity_usd_per_kwh=0.1)
    return results(estimate(dataclasses.replace(asked, gpu=dataclasses.replace(asked.gpu, tdp_watts=None))))


def test_what_does_not_run_has_no_energy():
    found = answer(model="deepseek-ai/DeepSeek-V3", gpu="t4", num_gpus=2)
    for name in OF_THE_SITE:
        assert found[name] == UNKNOWN, name


def test_carbon_without_a_region_and_money_without_a_price_are_unknown():
    found = answer(region=None, electricity_usd_per_kwh=None)
    assert found["grid"] is None
    for name in OF_THE_SITE:
        assert (found[name] == UNKNOWN) == (name.startswith(("gco2", "electricity"))), name


def test_electricity_that_costs_nothing_is_zero():
    found = answer(electricity_usd_per_kwh=0.0)
    assert found["electricity_usd_per_hour"]["value"] == 0.0


@pytest.mark.parametrize("value", ["0.99", "3.01", "nan", "-1"])
def test_a_pue_that_cannot_be_is_refused(value):
    with pytest.raises(InvalidInput, match="PUE") as refused:
        inputs_of(ServingInputs)["pue"].parse(value)
    assert refused.value.field == "pue"
