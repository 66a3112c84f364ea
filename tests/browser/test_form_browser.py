"""The serving form while it is edited: searchable lists, sliders, typical workloads and the preview."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open
from tests.browser.test_pages import calculate, choose, violations

pytestmark = pytest.mark.browser


def model(page: Page):  # type: ignore[no-untyped-def]
    return page.get_by_role("combobox", name="Model", exact=True)


def verdict(page: Page):  # type: ignore[no-untyped-def]
    return page.locator(".preview .verdict")


def query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def test_a_model_is_found_and_chosen_by_keyboard_alone(open_page: Open) -> None:
    page = open_page()
    model(page).focus()
    page.keyboard.type("qwen3 32b")
    options = page.get_by_role("listbox", name="Model").get_by_role("option")
    expect(options.first).to_have_text("Qwen/Qwen3-32B")
    expect(model(page)).to_have_attribute("aria-expanded", "true")
    expect(model(page)).to_have_attribute("aria-activedescendant", "model-list-0")
    page.keyboard.press("Enter")
    expect(model(page)).to_have_value("Qwen/Qwen3-32B")
    expect(model(page)).to_have_attribute("aria-expanded", "false")
    expect(page.locator("select[name=model]")).to_have_value("Qwen/Qwen3-32B")
    calculate(page)
    expect(page.locator("h1")).to_contain_text("Qwen3-32B")


def test_arrows_walk_the_list_and_escape_keeps_the_old_choice(open_page: Open) -> None:
    page = open_page()
    before = model(page).input_value()
    model(page).focus()
    page.keyboard.press("ArrowDown")
    first = model(page).get_attribute("aria-activedescendant")
    page.keyboard.press("ArrowDown")
    assert model(page).get_attribute("aria-activedescendant") != first
    page.keyboard.type("nothing is called like this")
    expect(page.get_by_role("listbox", name="Model")).to_contain_text("Nothing has all of these words")
    page.keyboard.press("Escape")
    expect(model(page)).to_have_value(before)
    expect(page.get_by_role("listbox", name="Model")).to_be_hidden()


def test_what_is_no_choice_stays_and_is_not_answered_with_another(open_page: Open) -> None:
    page = open_page()
    before, address = model(page).input_value(), page.url
    model(page).focus()
    page.keyboard.type("nothing is called like this")
    page.keyboard.press("Tab")
    expect(model(page)).to_have_value("nothing is called like this")
    expect(model(page)).to_have_attribute("aria-invalid", "true")
    page.locator("form.calculator button[type=submit]").first.click()
    expect(model(page)).to_be_focused()
    assert page.url == address
    assert "none of the choices" in model(page).evaluate("box => box.validationMessage")
    page.keyboard.type("qwen3 32b")
    page.keyboard.press("Enter")
    expect(model(page)).not_to_have_attribute("aria-invalid", "true")
    calculate(page)
    expect(page.locator("h1")).to_contain_text("Qwen3-32B")
    assert before != "Qwen/Qwen3-32B"


def test_the_preview_follows_what_is_typed_and_logs_nothing(open_page: Open) -> None:
    page = open_page()
    expect(verdict(page)).to_contain_text("Fits")
    page.get_by_label("Number of GPUs", exact=True).fill("1")
    choose(page, "Model", "llama-3.1-70b-instruct")
    expect(verdict(page)).to_contain_text("Does not fit")
    expect(page.locator("[data-preview-status]")).to_contain_text("Does not fit")
    assert page.locator(".preview svg rect").count() >= 5
    assert query(page) == {"model": ["meta-llama/Llama-3.1-70B-Instruct"], "num_gpus": ["1"]}
    runs = page.context.new_page()
    runs.goto("/visualize?q=Llama-3.1-70B-Instruct&fits=no")
    before = runs.locator("table.runs tbody tr").count()
    page.get_by_label("Number of GPUs", exact=True).fill("2")
    expect(verdict(page)).to_contain_text("2 x H100")
    runs.reload()
    assert runs.locator("table.runs tbody tr").count() == before


def test_a_mistake_is_told_beside_its_field_and_goes_when_it_is_mended(open_page: Open) -> None:
    page = open_page()
    prompt = page.get_by_label("Prompt", exact=True)
    prompt.fill("many")
    expect(page.locator("#error-input_tokens")).to_contain_text("'many' is not a number")
    expect(prompt).to_have_attribute("aria-invalid", "true")
    expect(prompt).to_have_attribute("aria-describedby", re.compile("error-input_tokens"))
    expect(verdict(page)).to_contain_text("1 input needs a change")
    assert violations(page) == []
    prompt.fill("2048")
    expect(page.locator("#error-input_tokens")).to_have_count(0)
    expect(prompt).not_to_have_attribute("aria-invalid", "true")
    expect(verdict(page)).to_contain_text("Fits")


def test_a_typical_workload_fills_the_fields_and_says_where_it_comes_from(open_page: Open) -> None:
    page = open_page()
    rag = page.get_by_role("button", name="RAG")
    rag.click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("8192")
    expect(page.get_by_label("Longest TTFT", exact=True)).to_have_value("2000")
    expect(rag).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".preset-reason")).to_contain_text("passages")
    expect(page).to_have_url(re.compile("input_tokens=8192"))
    page.get_by_role("button", name="Batch").click()
    expect(page.get_by_label("Concurrency", exact=True)).to_have_value("saturated")
    expect(page.get_by_label("Longest TTFT", exact=True)).to_have_value("")
    expect(rag).to_have_attribute("aria-pressed", "false")


def test_a_slider_moves_its_box_and_follows_it(open_page: Open) -> None:
    page = open_page()
    slider, box = page.get_by_label("Prompt, slider"), page.get_by_label("Prompt", exact=True)
    assert slider.input_value() == "20"  # 2 ** 10 is 1,024
    slider.press("ArrowRight")
    expect(box).to_have_value("1536")
    slider.press("ArrowRight")
    expect(box).to_have_value("2048")
    box.fill("131072")
    expect(slider).to_have_value("34")
    expect(verdict(page)).to_contain_text("GiB per GPU")
    box.fill("9000000")
    expect(slider).to_have_value("34")
    page.get_by_label("Number of GPUs, slider").press("ArrowRight")
    expect(page.get_by_label("Number of GPUs", exact=True)).to_have_value("2")


def test_a_reload_keeps_what_was_typed(open_page: Open) -> None:
    page = open_page()
    page.get_by_label("Output", exact=True).fill("777")
    expect(page).to_have_url(re.compile("output_tokens=777"))
    page.reload()
    expect(page.get_by_label("Output", exact=True)).to_have_value("777")


def test_without_scripts_there_are_lists_and_links(open_page: Open) -> None:
    page = open_page("/?num_gpus=2", javascript=False)
    expect(page.locator(".preview")).to_be_hidden()
    page.get_by_role("link", name="Summarise").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("32768")
    expect(page.get_by_label("Number of GPUs", exact=True)).to_have_value("2")
    expect(page.locator(".preset-reason")).to_be_visible()
    model(page).select_option("Qwen/Qwen3-32B")
    expect(calculate(page).locator("h1")).to_contain_text("Qwen3-32B")


def test_tabs_lead_from_task_to_task(open_page: Open) -> None:
    page = open_page()
    for name, heading in (("Train", "train"), ("Plan", "bought"), ("Serve", "serve")):
        page.get_by_role("navigation", name="What to calculate").get_by_role("link", name=name).click()
        expect(page.locator("h1")).to_contain_text(heading)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_anybody(open_page: Open, theme: str) -> None:
    page = open_page(theme=theme)
    expect(verdict(page)).to_contain_text("Fits")
    assert violations(page) == []
    model(page).click()
    assert violations(page) == []
