"""The history page in a real browser: charts, ticks that travel, narrow screens, no JavaScript, accessibility."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from werkzeug.serving import make_server

from app.blueprints import progress, visualize
from app.calculations.watch import Watch
from app.factory import create_app
from app.history import csv_export
from app.history.rows import Row
from app.history.run_log import Run, RunLog, new_run
from app.runs import estimate_run

pytestmark = pytest.mark.browser

SCENARIOS = (
    {"model": "meta-llama/Llama-3.1-8B-Instruct", "gpu": "h100-sxm"},
    {"model": "Qwen/Qwen2.5-72B-Instruct", "gpu": "h200-sxm", "num_gpus": 4},
    {"model": "deepseek-ai/DeepSeek-V3", "gpu": "l4", "num_gpus": 1},
)
#: Enough for two pages of 25.
COUNT = 40
START = datetime(2026, 11, 23, 8, tzinfo=UTC)


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    """Three scenarios in turn, the last of which does not fit, and one model whose name is markup."""
    made = [estimate_run(raw, source="web") for raw in SCENARIOS]
    evil = {**made[0].results, "model": {"name": "<b onclick=alert(1)>bold & more</b>"}}
    return [
        new_run(
            "estimate",
            "web",
            made[number % 3].inputs,
            evil if number == 0 else made[number % 3].results,
            now=START + timedelta(minutes=number),
            token=number.to_bytes(6, "big"),
        )
        for number in range(COUNT)
    ]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, runs: list[Run]) -> Iterator[str]:
    directory: Path = tmp_path_factory.mktemp("logging")
    log = RunLog(directory)
    for run in runs:
        log.append(run)
    server = make_server("127.0.0.1", 0, create_app({"LOG_DIR": directory}), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}/visualize"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that fails the test on any error in the console and on any request to another host."""
    page = browser.new_page()
    problems: list[str] = []
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "request",
        lambda sent: (
            None if "//127.0.0.1:" in sent.url or not sent.url.startswith("http") else problems.append(sent.url)
        ),
    )
    yield page
    page.close()
    assert problems == []


def comparison(address: str, runs: list[Run], *numbers: int) -> str:
    return address + "?" + "&".join(f"run={runs[number].run_id}" for number in numbers)


def drawn(page: Page) -> None:
    page.wait_for_selector("body[data-ready='1']")


def test_the_charts_of_a_comparison_are_drawn(page: Page, address: str, runs: list[Run]) -> None:
    page.goto(comparison(address, runs, 0, 1, 2))
    drawn(page)
    bars = [
        page.locator(f"#{chart} .trace.bars").count()
        for chart in ("memory-chart", "throughput-chart", "user-rate-chart")
    ]
    assert bars == [4, 1, 1]
    assert page.locator("#memory-chart .scatterlayer .point").count() == 3
    assert page.get_by_text("does not fit").count() >= 1


def test_markup_in_a_name_is_shown_as_text_also_by_the_charts(page: Page, address: str, runs: list[Run]) -> None:
    page.goto(comparison(address, runs, 0))
    drawn(page)
    page.locator("#throughput-chart").scroll_into_view_if_needed()
    page.locator("#throughput-chart .trace.bars .point path").hover(force=True)
    page.locator("#throughput-chart .hovertext").wait_for()
    assert "<b onclick=alert(1)>bold & more</b>" in page.locator("#throughput-chart .hoverlayer").text_content()


def test_ticks_travel_with_sorting_and_paging(page: Page, address: str) -> None:
    page.goto(address + "?per_page=25")
    for row in (0, 3):
        page.locator("input[name=run]:not([type=hidden])").nth(row).check()
    page.get_by_role("link", name="TTFT").click()
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("TTFT")
    page.get_by_role("button", name="Next").click()
    page.locator("input[type=checkbox]").first.check()
    page.get_by_role("button", name="Compare ticked").click()
    drawn(page)
    assert page.locator(".compared thead th").count() == 3
    assert page.url.endswith("#compare")
    page.get_by_role("link", name="Clear selection").click()
    assert page.locator("#compare").count() == 0
    assert page.locator("input[type=checkbox]:checked").count() == 0


def test_without_javascript_everything_but_the_charts_works(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    page.get_by_label("Fits").select_option("no")
    page.get_by_role("button", name="Show").click()
    assert page.locator("table.runs tbody tr").count() == COUNT // 3
    page.locator("input[type=checkbox]").nth(0).check()
    page.locator("input[type=checkbox]").nth(1).check()
    page.get_by_role("button", name="Compare ticked").click()
    assert page.locator(".compared thead th").count() == 2
    context.close()


def test_a_large_file_shows_how_far_it_is_and_then_its_link(
    page: Page, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go, write = threading.Event(), csv_export.write

    def slowly(file: TextIO, rows: Iterator[Row], of: int, watch: Watch) -> None:
        while not let_go.wait(0.02):
            watch(10, of)
        write(file, rows, of, watch)

    monkeypatch.setattr(visualize, "LARGE_FILE", 10)
    monkeypatch.setattr(csv_export, "write", slowly)
    page.goto(address)
    page.get_by_role("button", name=f"CSV of all {COUNT}").click()
    expect(page.get_by_role("status")).to_contain_text(f"10 of {COUNT} runs are written")
    monkeypatch.setattr(progress, "AGAIN_SECONDS", 60)  # Who looks at it closely shall not have it taken away.
    page.reload()
    assert [one["id"] for one in Axe().run(page).response["violations"]] == []
    monkeypatch.undo()
    page.get_by_role("link", name="Look again").click()
    let_go.set()
    download = page.get_by_role("button", name="Download runs.csv")
    download.wait_for()
    assert [one["id"] for one in Axe().run(page).response["violations"]] == []
    with page.expect_download() as started:
        download.click()
    assert len(Path(started.value.path()).read_text().splitlines()) == COUNT + 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_is_accessible_and_never_wider_than_the_screen(
    page: Page, address: str, runs: list[Run], width: int, scheme: str
) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.goto(comparison(address, runs, 0, 1, 2) + "&page=7&run=gone")
    drawn(page)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    violations = Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in violations] == []
