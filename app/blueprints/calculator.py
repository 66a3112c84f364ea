"""The calculator: the form, what it would answer while it is edited, and what becomes of it when it is sent."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from app.blueprints.question import Question
from app.pages.form_examples import Start
from app.pages.forms import EstimateForm
from app.pages.preview import of_serving
from app.pages.workloads import workloads
from app.runs import estimate_run
from app.scenarios import ALL_INPUTS

bp = Blueprint("calculator", __name__)


def starts() -> dict[str, Start]:
    """Typical workloads."""
    return {one.label: Start(inputs=one.serving, reason=one.reason) for one in workloads().values()}


QUESTION = Question(
    name="calculator",
    operation="estimate",
    form=EstimateForm,
    declared=ALL_INPUTS,
    starts=starts,
    answer=estimate_run,
)


@bp.get("/")
def form() -> str:
    return QUESTION.asked()


@bp.get("/preview")
def preview() -> str:
    return QUESTION.previewed(lambda raw: of_serving(estimate_run(raw, source="web").results))


@bp.post("/")
def calculate() -> Any:
    return QUESTION.sent()
