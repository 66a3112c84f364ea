"""A result as a person meets it: tabs in place, fixes, a copied link, tags and notes, runs side by side, paper."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open
from tests.browser.test_pages import BACKGROUND, TOO_LARGE, calculate, drawn, violations

pytestmark = pytest.mark.browser

GOALS = "/?max_tpot_ms=9&max_ttft_ms=100"
#: Tab -> its charts with the number of traces that each draws.
DRAWN = {
    "Precision": {"precision-chart": 5},
    "Accelerators": {"gpus-chart": 1},
    "Concurrency": {"latency-chart": 2, "throughput-chart": 2},
    "Scaling": {"scaling-chart": 3},
    "Cost": {"price-chart": 1, "energy-chart": 1},
}


def tab(page: Page, name: str) -> Page:
    page.get_by_role("navigation", name="Parts of the result").get_by_role("link", name=name, exact=True).click()
    expect(page.locator("#tabs [aria-current]")).to_have_text(name)
    return page


def traces(page: Page, chart: str) -> int:
    return page.locator(f"#{chart} .trace").count()


def test_tabs_change_in_place_and_each_draws_its_charts(open_page: Open) -> None:
    page = drawn(calculate(open_page(GOALS)))
    for name, charts in DRAWN.items():
        tab(page, name)
        for chart, count in charts.items():
            expect(page.locator(f"#{chart} .trace")).to_have_count(count)
    expect(page).to_have_url(re.compile(r"tab=cost"))
    page.go_back()
    expect(page.locator("#tabs [aria-current]")).to_have_text("Scaling")
    expect(page.locator("#scaling-chart .trace")).to_have_count(3)
    page.reload()
    expect(page.locator("#tabs [aria-current]")).to_have_text("Scaling")


def test_goals_are_drawn_into_the_sweep(open_page: Open) -> None:
    page = tab(drawn(calculate(open_page(GOALS))), "Concurrency")
    expect(page.locator("#latency-chart")).to_contain_text("goal: TPOT 9 ms")


def test_a_tab_works_without_scripts(open_page: Open) -> None:
    page = tab(calculate(open_page(GOALS, javascript=False)), "Scaling")
    expect(page.get_by_role("region", name="Table of numbers of GPUs")).to_be_visible()


def test_the_command_of_a_tab_is_copied(open_page: Open) -> None:
    page = open_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab(drawn(calculate(page)), "Launch")
    page.get_by_role("button", name="Copy", exact=True).first.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()").startswith("vllm serve meta-llama/Llama-3.1-8B-Instruct")


def test_a_fix_leads_to_a_form_that_fits(open_page: Open) -> None:
    page = drawn(calculate(open_page(TOO_LARGE)))
    expect(page.get_by_role("region", name="Table of changes")).to_contain_text("$10.76")
    page.get_by_role("link", name="Use Use 4 GPUs").click()
    expect(page.locator(".preview .verdict")).to_contain_text("4 x H100")


def test_the_link_of_a_run_is_copied(open_page: Open) -> None:
    page = open_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    drawn(calculate(page))
    address = page.url
    page.get_by_role("button", name="Copy link").first.click()
    expect(page.locator("[data-copied]")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == address


def test_a_run_takes_a_tag_and_a_note_and_keeps_them(open_page: Open) -> None:
    page = drawn(calculate(open_page("/?output_tokens=333")))
    page.get_by_text("Add tags or a note").click()
    page.get_by_label("Tags").fill("prod, q3")
    page.get_by_label("Note", exact=True).fill("the cheap one")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".note-box summary .tag")).to_have_text(["prod", "q3"])
    page.reload()
    page.locator(".note-box summary").get_by_text("the cheap one").click()
    expect(page.get_by_label("Note", exact=True)).to_have_value("the cheap one")
    page.get_by_label("Tags").fill("a;b")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#error-tags")).to_contain_text("cannot be a tag")
    assert violations(page) == []


def test_runs_are_put_aside_and_compared(open_page: Open) -> None:
    page = drawn(calculate(open_page("/?num_gpus=1")))
    page.get_by_role("button", name="Add to compare").first.click()
    expect(page.get_by_role("link", name="Compare 1").first).to_be_visible()
    page.goto("/?num_gpus=2")
    drawn(calculate(page))
    page.get_by_role("button", name="Add to compare").first.click()
    page.get_by_role("link", name="Compare 2").first.click()
    drawn(page)
    table = page.get_by_role("region", name="Table of results")
    expect(table.get_by_role("row", name=re.compile("Cost per hour"))).to_contain_text("2.00×")
    expect(page.get_by_role("region", name="Table of inputs").get_by_role("row")).to_have_count(2)
    assert page.locator("#throughput-chart .trace.bars path").count() == 2
    page.get_by_role("link", name="Compare the others with B").click()
    expect(table.get_by_role("row", name=re.compile("Cost per hour"))).to_contain_text("0.500×")
    page.get_by_role("link", name="Leave B out").click()
    expect(page.locator("#compare-heading")).to_have_text("1 run")


def test_runs_are_added_without_scripts(open_page: Open) -> None:
    calculate(open_page("/?num_gpus=4", javascript=False))
    page = calculate(open_page("/?num_gpus=1", javascript=False))
    page.get_by_role("link", name="Compare", exact=True).first.click()
    page.locator("form.recent input[type=checkbox]").first.focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("#compare-heading")).to_have_text("2 runs")


def test_a_run_is_had_as_csv(open_page: Open) -> None:
    page = drawn(calculate(open_page()))
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV", exact=True).first.click()
    assert download.value.suggested_filename.endswith(".csv")


def test_every_chart_is_saved_as_a_picture_by_keyboard_in_the_dark_too(open_page: Open) -> None:
    page = drawn(calculate(open_page(theme="dark")))
    buttons = page.get_by_role("button", name="PNG of the chart")
    assert buttons.count() == page.locator("figure.chart").count() > 2
    buttons.first.focus()
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename.endswith("-memory.png")
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")
    tab(page, "Cost")
    expect(page.get_by_role("button", name="PNG of the chart")).to_have_count(2)


def test_the_first_screen_says_what_fills_the_memory_and_what_limits_the_speed(open_page: Open) -> None:
    page = drawn(calculate(open_page()))
    for shown in ("header .memory-bar", "header .limits"):
        expect(page.locator(shown)).to_be_in_viewport()
    page.locator(".metrics").get_by_role("link", name="Formulas under Memory per GPU").click()
    expect(page.get_by_role("heading", name="Memory per GPU")).to_be_in_viewport()


def test_paper_is_light_and_has_no_buttons(open_page: Open) -> None:
    page = drawn(calculate(open_page(theme="dark")))
    dark = page.evaluate(BACKGROUND)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(BACKGROUND) != dark
    for hidden in (".actions", "nav.tabs", "header.site nav"):
        expect(page.locator(hidden).first).to_be_hidden()
    expect(page.locator(".verdict")).to_be_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_anybody(open_page: Open, theme: str) -> None:
    page = drawn(calculate(open_page(GOALS, theme=theme)))
    for name in ("Concurrency", "Cost", "Equations", "Launch", "JSON"):
        assert violations(tab(page, name)) == [], name
    page.get_by_role("button", name="Add to compare").first.click()
    page.get_by_role("link", name=re.compile("Compare 1")).first.click()
    assert violations(drawn(page)) == []


@pytest.mark.parametrize("width", [320, 390])
def test_no_page_is_wider_than_the_screen(open_page: Open, width: int) -> None:
    page = drawn(calculate(open_page(GOALS, width=width)))
    for name in DRAWN:
        tab(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    page.get_by_role("link", name="Compare", exact=True).first.click()
    drawn(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
