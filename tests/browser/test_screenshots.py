"""A picture of every page in both themes, kept in build/screenshots for whoever wants to look."""

from __future__ import annotations

import pytest

from app.config import PROJECT
from tests.browser.conftest import Open
from tests.browser.test_pages import BACKGROUND, calculate, drawn
from tests.browser.test_plan_browser import LOAD, planned

pytestmark = pytest.mark.browser

FOLDER = PROJECT / "build" / "screenshots"
#: Name -> address of a page that needs no run.
PAGES = {
    "serve": "/",
    "train": "/train",
    "plan": "/plan?request_rate=20",
    "mistake": "/?num_gpus=none",
    "models": "/models",
    "model": "/models/deepseek-ai/DeepSeek-V3",
    "import": "/models/import",
    "gpus": "/gpus",
    "gpu": "/gpus/h100-sxm",
    "history": "/visualize",
    "compare": "/compare",
    "accuracy": "/accuracy",
    "documents": "/docs",
    "formulas": "/docs/metrics_calculation",
    "api": "/api",
}
#: Name -> the form that leads to a result.
RESULTS = {"serve-result": "/", "train-result": "/train", "plan-result": LOAD}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_has_its_picture(open_page: Open, theme: str) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    backgrounds = set()
    for name, address in (RESULTS | PAGES).items():  # Results first: then the history has runs.
        page = open_page(address, theme=theme)
        if name in RESULTS:
            drawn(planned(page) if name.startswith("plan") else calculate(page))
        picture = FOLDER / f"{name}-{theme}.png"
        picture.unlink(missing_ok=True)
        page.screenshot(path=picture)
        assert picture.stat().st_size > 10_000, name
        backgrounds.add(page.evaluate(BACKGROUND))
        page.close()
    (background,) = backgrounds
    red = int(background.removeprefix("rgb(").split(",")[0])
    assert (red > 128) == (theme == "light")
