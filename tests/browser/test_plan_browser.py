"""Planning as a person meets it: a load and goals, ranked plans, and what to do where nothing meets them."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Open
from tests.browser.test_pages import drawn, violations

pytestmark = pytest.mark.browser

LOAD = "/plan?request_rate=20&gpu=h100-sxm,h200-sxm,b200,l40s&max_tpot_ms=30"
NEVER = "/plan?request_rate=20&gpu=h100-sxm,l40s&max_tpot_ms=0.02"

PROGRESS = "**/plan/progress/*"


def standing(route: Route) -> None:
    """The page stays when the browser looks again by itself."""
    route.fulfill(status=204)


def planned(page: Page) -> Page:
    page.get_by_role("button", name="Plan", exact=True).click()
    page.wait_for_url("**/results/*")
    return page


def test_an_example_leads_to_ranked_plans(open_page: Open) -> None:
    page = open_page("/plan?gpu=h100-sxm,h200-sxm,b200,l40s")
    page.get_by_role("button", name="Chat").click()
    expect(page.get_by_role("textbox", name="Request rate")).to_have_value("20")
    drawn(planned(page))
    expect(page.locator(".verdict")).to_contain_text("an hour")
    rows = page.get_by_role("region", name="Plans that meet the goals").locator("tbody tr")
    assert rows.count() > 3


def test_goals_that_nothing_meets_show_the_nearest(open_page: Open) -> None:
    page = planned(open_page(NEVER))
    expect(page.locator(".verdict")).to_contain_text("No plan meets all goals")
    expect(page.get_by_role("heading", name="Nearest to the goals")).to_be_visible()


def test_the_preview_follows_load_and_choice_while_they_are_edited(open_page: Open) -> None:
    page = open_page("/plan")
    verdict = page.locator(".preview .verdict")
    expect(verdict).to_contain_text("No load yet")
    assert violations(page) == []
    page.get_by_role("button", name="Chat").click()
    expect(verdict).to_contain_text("Possible")
    expect(page.locator(".preview-metrics")).to_contain_text("Output a month")
    page.get_by_label("Request rate, slider").press("ArrowRight")
    expect(page.locator(".preview-metrics")).to_contain_text("32.0 req/s")
    page.get_by_text("What may be bought").click()
    page.get_by_label("Accelerators", exact=True).fill("l4, h100-sxm")
    expect(page.locator(".preview-table")).to_contain_text("L4 24GB")
    expect(page).to_have_url(re.compile("gpu=l4"))
    page.get_by_label("Concurrency", exact=True).fill("8")
    expect(page.locator("#error-request_rate")).to_contain_text("both given")
    page.set_viewport_size({"width": 390, "height": 900})
    expect(page.locator("[data-preview-word]")).to_have_text("No answer")
    page.locator("[data-preview-word]").click()
    expect(page.get_by_role("heading", name="Preview")).to_be_in_viewport()
    assert violations(page) == []


def test_without_scripts_a_plan_is_made_and_no_empty_preview_is_shown(open_page: Open) -> None:
    page = open_page("/plan?gpu=l4,h100-sxm", javascript=False)
    expect(page.locator(".preview")).to_be_hidden()
    page.get_by_role("link", name="Chat").click()
    expect(planned(page).locator(".verdict")).to_contain_text("an hour")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_anybody(open_page: Open, theme: str) -> None:
    for address in ("/plan", "/plan?gpu=nothing&max_ttft_ms=x"):
        assert violations(open_page(address, theme=theme)) == []
    assert violations(drawn(planned(open_page(LOAD, theme=theme)))) == []
    assert violations(planned(open_page(NEVER, theme=theme))) == []


def test_a_long_plan_shows_how_far_it_is_until_its_answer(open_page: Open) -> None:
    page = open_page("/plan?request_rate=20&max_gpus_per_replica=2&kv_precision=auto,fp8")
    page.route(PROGRESS, standing)
    page.get_by_role("button", name="Plan", exact=True).click()
    expect(page.get_by_role("progressbar")).to_be_visible()
    assert violations(page) == []
    page.unroute(PROGRESS)
    page.get_by_role("link", name="Look again").click()
    page.wait_for_url("**/results/*", timeout=120_000)
    expect(page.locator(".verdict")).to_contain_text("an hour")


@pytest.mark.parametrize("width", [320, 390])
def test_no_page_is_wider_than_the_screen(open_page: Open, width: int) -> None:
    for page in (open_page("/plan?gpu=nothing", width=width), drawn(planned(open_page(LOAD, width=width)))):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
