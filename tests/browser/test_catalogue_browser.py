"""The pages of models and accelerators as a person meets them, and the import with and without scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.browser.test_pages import DRAWN, calculate, violations
from tests.fake_hub import CONFIG

pytestmark = pytest.mark.browser

PAGES = (
    "/models?q=qwen&sort=total_params&order=desc",
    "/models/deepseek-ai/DeepSeek-V3",
    "/models/openai/gpt-oss-120b",
    "/models/import",
    "/gpus",
    "/gpus/h100-sxm",
)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("address", PAGES)
def test_nothing_stands_in_the_way_of_anybody(open_page: Open, theme: str, address: str) -> None:
    page = open_page(address, theme=theme)
    if address.count("/") == 3:
        page.wait_for_selector(DRAWN)
    assert violations(page) == []


@pytest.mark.parametrize("width", [320, 390])
@pytest.mark.parametrize("address", PAGES)
def test_no_page_is_wider_than_the_screen(open_page: Open, width: int, address: str) -> None:
    page = open_page(address, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_charts_of_a_model_are_drawn(open_page: Open) -> None:
    page = open_page("/models/openai/gpt-oss-120b")
    page.wait_for_selector(DRAWN)
    assert page.locator("#params-chart .trace.bars").count() == 1
    assert page.locator("#cache-chart .trace.scatter").count() == 3
    expect(page.locator("#cache-chart .legend")).to_contain_text("Window of 128 tokens")


@pytest.mark.parametrize("javascript", [True, False])
def test_a_file_is_imported_saved_calculated_with_and_deleted(
    open_page: Open, tmp_path: Path, javascript: bool
) -> None:
    name = f"Tiny {'with' if javascript else 'without'} scripts"
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG))
    page = open_page("/", javascript=javascript)
    page.get_by_role("link", name="Import a model").click()
    page.get_by_label("Or choose the file").set_input_files(path)
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Read it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    if javascript:
        page.wait_for_selector(DRAWN)
    assert violations(page) == [] if javascript else True
    page.get_by_role("button", name="Calculate with this").click()
    expect(page.get_by_role("combobox", name="Model", exact=True)).to_have_value(name)
    expect(calculate(page).locator(".verdict")).to_contain_text("Fits")
    page.goto(f"/models/{name}")
    page.locator("details.confirm summary").click()
    page.get_by_role("button", name=f"Delete {name}").click()
    page.wait_for_url("**/models")
    assert page.get_by_role("link", name=name).count() == 0


def test_a_mistake_has_the_focus_and_keeps_what_was_typed(open_page: Open) -> None:
    page = open_page("/models/import")
    page.get_by_label("Paste the configuration").fill('{"hidden_size": "64"}')
    page.get_by_role("button", name="Read it").click()
    expect(page.get_by_role("alert")).to_be_focused()
    expect(page.get_by_label("Paste the configuration")).to_have_value('{"hidden_size": "64"}')
    assert violations(page) == []


def test_a_custom_accelerator_is_saved_from_its_result(open_page: Open) -> None:
    page = calculate(open_page("/?gpu=custom&model=custom"))
    assert violations(page) == []
    page.get_by_label("Name to save the accelerator under").fill("Browser card")
    page.get_by_role("button", name="Save this accelerator").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Browser card")
    assert violations(page) == []
    page.get_by_role("button", name="Calculate with this").click()
    expect(page.get_by_role("combobox", name="Accelerator", exact=True)).to_have_value("Browser card")
