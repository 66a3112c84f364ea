"""Training as a person meets it: three fields, a result with every chart drawn, commands to copy."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open
from tests.browser.test_pages import calculate, choose, drawn, violations

pytestmark = pytest.mark.browser

STAGED = "/train?model=meta-llama/Meta-Llama-3.1-70B&num_gpus=128&tp=4&pp=8&micro_batch_size=1&sharding=zero1"
TOO_LARGE = "/train?model=meta-llama/Meta-Llama-3.1-70B&num_gpus=8&framework=torchtitan"
CHARTS = {"memory-chart", "stages-chart", "step-chart", "losses-chart", "throughput-chart", "scaling-mfu-chart"}


def plots(page: Page) -> set[str]:
    """The charts that hold something drawn."""
    return {
        str(plot.get_attribute("id"))
        for plot in page.locator(".plot").all()
        if plot.locator(".trace.bars path, .trace.scatter path").count()
    }


def test_three_fields_lead_to_a_result_with_every_chart_drawn(open_page: Open) -> None:
    page = open_page("/train")
    choose(page, "Model", "meta-llama/Meta-Llama-3.1-70B")
    choose(page, "Accelerator", "h100 sxm")
    page.get_by_label("Number of GPUs", exact=True).fill("128")
    page.locator("#group-layout summary").click()
    page.get_by_label("Tensor parallel", exact=True).fill("4")
    page.get_by_label("Pipeline parallel").fill("8")
    drawn(calculate(page))
    expect(page.locator(".verdict")).to_contain_text("Fits")
    expect(page.locator("h1")).to_have_text("Meta-Llama-3.1-70B on 128 × H100 SXM5 80GB")
    assert plots(page) == CHARTS


def test_an_example_fills_the_fields_and_the_lines_of_folded_parts(open_page: Open) -> None:
    page = open_page("/train")
    page.get_by_role("button", name="QLoRA, one card").click()
    expect(page.get_by_role("combobox", name="Accelerator", exact=True)).to_have_value("GeForce RTX 4090 24GB")
    expect(page.get_by_label("Number of GPUs", exact=True)).to_have_value("1")
    expect(page.locator("#group-method .values")).to_have_text("Method qlora")


def test_a_box_that_is_cleared_is_told_in_the_line_of_its_part(open_page: Open) -> None:
    page = open_page("/train")
    part = page.locator("#group-software")
    part.locator("summary").click()
    page.get_by_label("torch.compile").uncheck()
    expect(part.locator(".values")).to_have_text("torch.compile off")


def test_a_command_is_copied(open_page: Open) -> None:
    page = open_page(STAGED)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    drawn(calculate(page))
    page.get_by_role("button", name="Copy", exact=True).first.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert "--pipeline-model-parallel-size 8" in page.evaluate("navigator.clipboard.readText()")


def test_without_scripts_the_same_numbers_are_there(open_page: Open) -> None:
    page = calculate(open_page(STAGED, javascript=False))
    expect(page.locator(".verdict")).to_contain_text("Fits")
    expect(page.get_by_role("row", name="Optimizer states")).to_be_visible()
    expect(page.get_by_text("--tensor-model-parallel-size 4")).to_be_visible()
    assert page.locator("figure:visible").count() == 0
    assert page.get_by_role("button", name="Copy").count() == 0


def test_a_mistake_leads_to_its_folded_field(open_page: Open) -> None:
    page = open_page("/train")
    page.locator("#group-batch summary").click()
    page.get_by_label("Sequence length").fill("long")
    page.get_by_role("button", name="Calculate").click()
    summary = page.get_by_role("alert")
    expect(summary).to_be_focused()
    summary.get_by_role("link", name=re.compile("'long' is not a number")).click()
    expect(page.get_by_label("Sequence length")).to_be_focused()
    expect(page.get_by_label("Sequence length")).to_have_value("long")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_anybody(open_page: Open, theme: str) -> None:
    for address in ("/train", "/train?tp=0&seq_len=x&model=custom&gpu=custom&method=lora"):
        assert violations(open_page(address, theme=theme)) == []
    for address in (STAGED, TOO_LARGE):
        assert violations(drawn(calculate(open_page(address, theme=theme)))) == []


@pytest.mark.parametrize("width", [320, 390])
def test_no_page_is_wider_than_the_screen(open_page: Open, width: int) -> None:
    pages = [
        open_page("/train?model=custom&gpu=custom&tp=0&method=lora", width=width),
        drawn(calculate(open_page(STAGED, width=width))),
        drawn(calculate(open_page(TOO_LARGE, width=width))),
    ]
    for page in pages:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
