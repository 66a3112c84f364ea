"""The form: every declared input is on it, parsed by its own rule, and keeps what was typed."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.datastructures import MultiDict

from app import catalog
from app.calculations.errors import InvalidInput
from app.calculations.inputs import inputs_of
from app.calculations.scenario import CustomAccelerator, CustomArchitecture, ServingInputs
from app.pages.forms import COMPLETE, EstimateForm, InputForm, share_args, text_of
from app.runs import estimate_run
from app.scenarios import ALL_INPUTS, serving_scenario


def sent(**fields: str) -> InputForm:
    return EstimateForm(MultiDict(fields))


def test_every_declared_input_is_a_field() -> None:
    declared = [*inputs_of(ServingInputs), *inputs_of(CustomArchitecture), *inputs_of(CustomAccelerator)]
    assert [field.name for field in EstimateForm()] == declared


def test_every_field_is_in_one_group() -> None:
    placed = [field.name for group in EstimateForm().groups().values() for field in group.fields]
    assert sorted(placed) == sorted(ALL_INPUTS)


def test_an_empty_form_is_valid_and_means_the_defaults() -> None:
    form = EstimateForm(MultiDict())
    assert form.validate()
    assert serving_scenario(form.raw())[1] == serving_scenario({})[1]


@pytest.mark.parametrize("name", [name for name, one in ALL_INPUTS.items() if one.kind in ("integer", "number")])
@pytest.mark.parametrize("text", ["abc", "nan", "inf", "-1", "1e999", "1e99", "12x", "<b>1</b>", "9" * 300])
def test_a_bad_number_stays_as_typed_and_the_message_names_field_value_and_limits(name: str, text: str) -> None:
    form = sent(**{name: text, "model": "custom", "gpu": "custom"})
    assert not form.validate()
    assert form[name].text == text
    (message,) = form[name].errors
    one = ALL_INPUTS[name]
    assert message.startswith(f"{one.label}: ")
    assert text[:40] in message
    assert message.endswith(f"Allowed: {one.allowed}.")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("input_tokens", " 2,048 ", 2048),
        ("concurrency", "Saturated", "saturated"),
        ("memory_utilization", "0.85", 0.85),
        ("num_gpus", "", None),
        ("output_tokens", "", 256),
        ("kv_precision", "fp8", "fp8"),
    ],
)
def test_good_text(name: str, text: str, value: Any) -> None:
    form = sent(**{name: text})
    assert form.validate(), form.errors
    assert form[name].data == value


@pytest.mark.parametrize(
    ("name", "alias", "own"),
    [
        ("model", "llama-3.1-8b-instruct", "meta-llama/Llama-3.1-8B-Instruct"),
        ("gpu", "H100-SXM", "h100-sxm"),
        ("engine", "VLLM", "vllm"),
        ("model", "Custom", "custom"),
    ],
)
def test_an_alias_chooses_the_entry_of_the_list(name: str, alias: str, own: str) -> None:
    form = sent(**{name: alias})
    assert form.validate(), form.errors
    assert form[name].text == own
    assert not form[name].unlisted


@pytest.mark.parametrize("name", ["model", "gpu", "engine", "region", "kv_precision"])
def test_a_name_that_is_not_known_stays_in_its_list(name: str) -> None:
    form = sent(**{name: "no-such-thing"})
    assert not form.validate()
    assert "no-such-thing" in form[name].errors[0]
    assert form[name].text == "no-such-thing"
    assert form[name].unlisted


def test_the_lists_hold_the_whole_catalogue() -> None:
    form = EstimateForm()
    offered = {name: {key for group in form[name].options.values() for key in group} for name in ("model", "gpu")}
    assert offered == {"model": {*catalog.models(), "custom"}, "gpu": {*catalog.gpus(), "custom"}}


def test_custom_parts_count_only_where_custom_was_chosen() -> None:
    preset = sent(num_layers="junk", gpu_memory_gib="junk")
    assert preset.validate()
    assert "num_layers" not in preset.raw()
    assert not sent(num_layers="junk", model="custom").validate()
    assert not sent(gpu_memory_gib="junk", gpu="custom").validate()


def test_a_box_that_is_not_ticked_is_false_only_in_a_form_that_was_sent_whole() -> None:
    assert sent(model="custom").raw()["gated_mlp"] == "true"
    assert sent(model="custom", **{COMPLETE: "1"}).raw()["gated_mlp"] == "false"
    assert sent(model="custom", gated_mlp="true", **{COMPLETE: "1"}).raw()["gated_mlp"] == "true"
    assert sent(model="custom", gated_mlp="false").raw()["gated_mlp"] == "false"


def test_a_message_from_the_core_stands_beside_the_field_that_it_names() -> None:
    form = sent(tp="7", num_gpus="7")
    assert form.validate()
    with pytest.raises(InvalidInput) as refused:
        estimate_run(form.raw(), source="web")
    form.refuse(refused.value)
    assert form[refused.value.field].errors
    assert form.mistakes()[0][0] == refused.value.field


def test_a_message_about_no_field_stands_above_the_form() -> None:
    form = sent()
    form.validate()
    form.refuse(InvalidInput("weather", "It rains.", "sun"))
    assert form.mistakes() == [("", "It rains. Allowed: sun.")]


@pytest.mark.parametrize(
    ("fields", "group", "summary", "is_open"),
    [
        ({}, "precision", "automatic", False),
        ({"kv_precision": "fp8"}, "precision", "KV cache fp8, the rest automatic", True),
        ({}, "engine", "vLLM, the rest default", False),
        ({"engine": "sglang"}, "engine", "SGLang, the rest default", True),
        ({"tp": "4", "pp": "2"}, "layout", "tensor parallel 4, pipeline parallel 2, the rest automatic", True),
        ({}, "price", "list price", False),
        ({"price_usd_per_gpu_hour": "2"}, "price", "price 2", True),
        ({}, "energy", "World, 473 g/kWh, the rest default", False),
        ({"pue": "1.1"}, "energy", "World, 473 g/kWh, PUE 1.1, the rest default", True),
        ({"tp": "x"}, "layout", "tensor parallel x, the rest automatic", True),
        ({}, "custom_model", "used when the model is custom", False),
        ({"model": "custom"}, "custom_model", "used when the model is custom", True),
    ],
)
def test_the_line_of_a_folded_part(fields: dict[str, str], group: str, summary: str, is_open: bool) -> None:
    form = sent(**fields)
    form.validate()
    found = form.groups()[group]
    assert (found.summary, found.open) == (summary, is_open)


def test_a_share_link_holds_only_what_differs_and_fills_the_same_form() -> None:
    raw = {"model": "custom", "num_layers": "12", "gated_mlp": "false", "concurrency": "saturated", "gpu": "b200"}
    inputs = serving_scenario(raw)[1]
    args = share_args(inputs)
    assert args == raw
    again = EstimateForm(MultiDict(args))
    assert again.validate()
    assert serving_scenario(again.raw())[1] == inputs


@pytest.mark.parametrize(("value", "text"), [(None, ""), (80.0, "80"), (0.85, "0.85"), (True, "true"), (7, "7")])
def test_a_value_as_one_would_type_it(value: object, text: str) -> None:
    assert text_of(value) == text
