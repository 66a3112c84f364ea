"""The calculator: the form, what it would answer while it is edited, and what becomes of it when it is sent."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template, request, url_for

from app.blueprints.question import Question
from app.pages import preview as preview_page
from app.pages.form_examples import Start
from app.pages.forms import EstimateForm, share_args
from app.pages.workloads import workloads
from app.runs import estimate_run
from app.scenarios import ALL_INPUTS

bp = Blueprint("calculator", __name__)


def starts() -> dict[str, Start]:
    """Typical workloads."""
    return {one.label: Start(inputs=one.serving, reason=one.reason) for one in workloads().values()}


QUESTION = Question(name="calculator", form=EstimateForm, declared=ALL_INPUTS, starts=starts, answer=estimate_run)


@bp.get("/")
def form() -> str:
    return QUESTION.asked()


@bp.get("/preview")
def preview() -> str:
    """What the form in the query string would answer, as a fragment of a page. Nothing is logged."""
    asked = EstimateForm(request.args)
    run = QUESTION.run(asked)
    if run is None:
        return render_template("calculator/_preview.html", found=None, mistakes=asked.mistakes())
    share = url_for("calculator.form", **share_args(run.inputs))
    return render_template("calculator/_preview.html", share=share, **preview_page.parts(run.results))


@bp.post("/")
def calculate() -> Any:
    return QUESTION.sent()
