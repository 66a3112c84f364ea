"""The calculator and its results as a person meets them: with and without scripts, wide and narrow, light and dark."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open

pytestmark = pytest.mark.browser

DRAWN = "body[data-ready='1']"
BACKGROUND = "getComputedStyle(document.documentElement).backgroundColor"
EXPERTS = "/?model=deepseek-ai/DeepSeek-V3&num_gpus=16"
TOO_LARGE = "/?model=meta-llama/Llama-3.1-70B-Instruct&num_gpus=1"


def calculate(page: Page) -> Page:
    page.get_by_role("button", name="Calculate").click()
    page.wait_for_url("**/results/*")
    return page


def choose(page: Page, label: str, text: str) -> None:
    """The first choice of a searchable list that has these words, by keyboard."""
    page.get_by_role("combobox", name=label, exact=True).focus()
    page.keyboard.type(text)
    page.keyboard.press("Enter")


def drawn(page: Page) -> Page:
    page.wait_for_selector(DRAWN)
    return page


def bars(page: Page, chart: str) -> int:
    return page.locator(f"#{chart} .trace.bars").count()


def violations(page: Page) -> list[str]:
    """What axe finds on the page at rest: a part that waits for its answer is dimmed."""
    expect(page.locator("[aria-busy]")).to_have_count(0)
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]})
    return [f"{one['id']}: {node['html']}" for one in found.response["violations"] for node in one["nodes"]]


def test_the_form_leads_to_a_result_with_every_chart_drawn(open_page: Open) -> None:
    page = drawn(calculate(open_page(EXPERTS)))
    assert [bars(page, f"{name}-chart") for name in ("memory", "bound-prefill", "bound-decode", "flops")] == [
        6,
        1,
        1,
        6,
    ]
    expect(page.locator(".verdict")).to_contain_text("Fits")


def test_without_scripts_the_same_numbers_are_there(open_page: Open) -> None:
    page = calculate(open_page(javascript=False))
    expect(page.locator(".verdict")).to_contain_text("Fits")
    expect(page.get_by_role("row", name="Weights")).to_be_visible()
    assert page.locator("figure:visible").count() == 0
    assert page.locator("#theme:visible").count() == 0


def test_without_scripts_custom_parts_can_be_reached_and_mistakes_are_shown(open_page: Open) -> None:
    page = open_page(javascript=False)
    page.get_by_role("combobox", name="Model", exact=True).select_option("custom")
    page.get_by_text("Custom architecture").click()
    page.get_by_label("Layers", exact=True).fill("none")
    page.get_by_role("button", name="Calculate").click()
    expect(page.get_by_role("alert")).to_contain_text("Layers: 'none' is not a number")
    expect(page.get_by_label("Layers", exact=True)).to_have_value("none")


def test_a_custom_model_shows_its_part_of_the_form(open_page: Open) -> None:
    page = open_page()
    part = page.locator("#group-custom_model")
    expect(part).to_be_hidden()
    choose(page, "Model", "custom: describe")
    expect(page.get_by_label("Layers", exact=True)).to_be_visible()
    page.get_by_label("Gated MLP").uncheck()
    drawn(calculate(page))
    expect(page.locator(".facts").last).to_contain_text(re.compile(r"Gated MLP\s*no"))
    page.get_by_role("button", name="Change inputs").first.click()
    expect(page.get_by_label("Gated MLP")).not_to_be_checked()


def test_a_folded_part_says_what_is_set_in_it(open_page: Open) -> None:
    page = open_page()
    part = page.locator("#group-precision")
    part.locator("summary").click()
    page.get_by_label("KV cache").select_option("fp8")
    expect(part.locator(".values")).to_have_text("KV cache fp8")


def test_the_summary_of_mistakes_has_the_focus_and_leads_to_a_folded_field(open_page: Open) -> None:
    page = open_page("/?tp=0")
    summary = page.get_by_role("alert")
    expect(summary).to_be_focused()
    page.locator("#group-layout summary").click()
    summary.get_by_role("link").click()
    expect(page.get_by_label("Tensor parallel", exact=True)).to_be_focused()
    expect(page.get_by_label("Tensor parallel", exact=True)).to_be_visible()


def test_the_theme_follows_the_switch_and_is_kept(open_page: Open) -> None:
    page = drawn(calculate(open_page()))
    weights = page.locator("#memory-chart .trace.bars path").first
    light = (page.evaluate(BACKGROUND), weights.get_attribute("style"))
    page.get_by_role("button", name="Dark theme").click()
    expect(page.get_by_role("button", name="Light theme")).to_be_visible()
    expect(weights).not_to_have_attribute("style", light[1] or "")
    assert page.evaluate(BACKGROUND) != light[0]
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_the_theme_follows_the_system(open_page: Open) -> None:
    page = open_page(theme="dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.emulate_media(color_scheme="light")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_anybody(open_page: Open, theme: str) -> None:
    for address in ("/", "/?tp=0&input_tokens=x&model=custom&gpu=custom&kv_precision=fp8&engine=sglang"):
        assert violations(open_page(address, theme=theme)) == []
    for address in (EXPERTS, TOO_LARGE):
        assert violations(drawn(calculate(open_page(address, theme=theme)))) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_formulas_scroll_in_their_own_box_and_by_keyboard(open_page: Open, theme: str) -> None:
    page = open_page("/docs/metrics_calculation", width=320, theme=theme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    wide = page.locator(".formula").evaluate_all(
        "boxes => boxes.filter(box => box.scrollWidth > box.clientWidth).map(box => box.tabIndex)"
    )
    assert wide and set(wide) == {0}
    assert [one["id"] for one in Axe().run(page).response["violations"]] == []


@pytest.mark.parametrize("width", [320, 390])
def test_no_page_is_wider_than_the_screen(open_page: Open, width: int) -> None:
    pages = [
        open_page("/?model=custom&gpu=custom&tp=0&kv_precision=fp8", width=width),
        drawn(calculate(open_page(EXPERTS, width=width))),
        drawn(calculate(open_page(TOO_LARGE, width=width))),
    ]
    for page in pages:
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_every_control_is_reached_by_keyboard_in_reading_order(open_page: Open) -> None:
    page = open_page()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    for task in ("Serve", "Train", "Plan"):
        page.keyboard.press("Tab")
        expect(page.get_by_role("navigation", name="What to calculate").get_by_role("link", name=task)).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("combobox", name="Model", exact=True)).to_be_focused()


def test_the_enter_key_calculates(open_page: Open) -> None:
    page = open_page()
    page.get_by_label("Output", exact=True).press("Enter")
    page.wait_for_url(re.compile("/results/"))
