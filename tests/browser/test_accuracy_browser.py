"""The accuracy page in a real browser: the chart and its hover, filters with and without JavaScript, accessibility."""

import threading
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page
from werkzeug.serving import make_server

from app.accuracy import crossvalidated
from app.accuracy.scoring import CLASS_NAMES
from app.factory import create_app
from tests import predictions

pytestmark = pytest.mark.browser

#: Lines before the points: the band's two edges and the diagonal.
LINES = 3


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("accuracy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crossvalidated, "FILES", (predictions.write(directory / "accuracy.csv.gz"),))
        server = make_server("127.0.0.1", 0, create_app({"LOG_DIR": directory}), threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.port}"
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
    page.on("request", lambda sent: None if "//127.0.0.1:" in sent.url else problems.append(sent.url))
    yield page
    page.close()
    assert [one for one in problems if not one.startswith(("data:", "blob:"))] == []


def drawn(page: Page) -> Page:
    page.wait_for_selector("body[data-ready='1']")
    return page


def test_every_class_is_drawn_with_the_band(page: Page, address: str) -> None:
    page.goto(f"{address}/accuracy")
    drawn(page)
    assert page.locator("#accuracy-chart .scatterlayer .trace").count() == LINES + len(CLASS_NAMES)
    assert page.locator("#accuracy-chart .scatterlayer .point").count() == 3000
    assert page.locator("#accuracy-chart .js-fill").count() == 1


def test_a_point_says_what_it_is(page: Page, address: str) -> None:
    page.goto(f"{address}/accuracy?metric=ttft&source=tpu-recipes-v6e")
    drawn(page)
    page.locator("#accuracy-chart").scroll_into_view_if_needed()
    page.locator("#accuracy-chart .scatterlayer .point").first.hover(force=True)
    page.locator("#accuracy-chart .hovertext").wait_for()
    text = page.locator("#accuracy-chart .hoverlayer").text_content() or ""
    for part in ("Llama-3.3-70B", "TPU v6e", "vLLM", "prompt", "measured", "predicted", "tpu-recipes-v6e"):
        assert part in text


def test_filters_work_without_javascript(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/accuracy")
    page.locator("select[name=metric]").select_option("ttft")
    page.locator("select[name=engine]").select_option("vllm")
    page.get_by_role("button", name="Show").click()
    assert "metric=ttft" in page.url
    assert "engine=vllm" in page.url
    assert page.get_by_role("status").first.inner_text().split(" of ")[1].startswith("25,")
    assert page.get_by_role("row", name="All sources").count() == 1
    assert page.locator("figure:visible").count() == 0
    context.close()


def test_a_result_leads_to_the_measurements_of_its_gpu_and_engine(page: Page, address: str) -> None:
    page.goto(f"{address}/?model=meta-llama/Llama-3.1-70B-Instruct")
    page.get_by_role("button", name="Calculate").click()
    page.wait_for_url("**/results/*")
    assert page.locator("table.nearest tbody tr").count() == 5
    page.get_by_role("link", name="All measurements of").click()
    drawn(page)
    assert page.locator("select[name=gpu]").input_value() == "h100-sxm"
    assert page.locator("select[name=engine]").input_value() == "vllm"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_is_accessible_and_never_wider_than_the_screen(
    page: Page, address: str, width: int, scheme: str
) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.goto(f"{address}/accuracy?engine=vllm")
    drawn(page)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    violations = Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in violations] == []
