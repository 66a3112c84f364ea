"""For every test: where CI is true, nothing may be skipped for want of a browser, a screen or PostgreSQL.

`.ci/run` installs them, so a skip there would hide a lost test rather than excuse a missing tool.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

NEEDED = {"browser", "desktop", "postgres"}


def in_ci() -> bool:
    return os.environ.get("CI", "").lower() in ("1", "true")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    marked = NEEDED & {marker.name for marker in item.iter_markers()}
    if report.skipped and marked and in_ci() and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"A {'/'.join(marked)} test was skipped in CI: {_reason(report.longrepr)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped and in_ci():
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} was skipped in CI: {_reason(report.longrepr)}"
    return report


def _reason(longrepr: object) -> str:
    return str(longrepr[2] if isinstance(longrepr, tuple) else longrepr)
