"""The calculator: the form, what it would answer while it is edited, and what becomes of it when it is sent."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, render_template, request, url_for

from app import preview_page
from app.blueprints.results import answered
from app.calculations.errors import InvalidInput
from app.form_examples import examples
from app.forms import COMPLETE, EstimateForm, InputForm, share_args
from app.run_log import Run
from app.runs import estimate_run
from app.scenarios import ALL_INPUTS
from app.workloads import workloads

bp = Blueprint("calculator", __name__)


def form_page(form: InputForm) -> str:
    typical = {one.label: one.serving for one in workloads().values()}
    reasons = {one.label: one.reason for one in workloads().values()}
    return render_template(
        "calculator/form.html",
        form=form,
        groups=form.groups(),
        complete=COMPLETE,
        examples=examples(form, typical, ALL_INPUTS, "calculator.form", reasons),
    )


@bp.get("/")
def form() -> str:
    """The form, filled from the query string; what cannot be used there is told beside its field."""
    filled = EstimateForm(request.args)
    if request.args:
        filled.validate()
    return form_page(filled)


@bp.get("/preview")
def preview() -> str:
    """What the form in the query string would answer, as a fragment of a page. Nothing is logged."""
    asked = EstimateForm(request.args)
    run = estimated(asked)
    if run is None:
        return render_template("calculator/_preview.html", found=None, mistakes=asked.mistakes())
    share = url_for("calculator.form", **share_args(run.inputs))
    return render_template("calculator/_preview.html", share=share, **preview_page.parts(run.results))


@bp.post("/")
def calculate() -> Any:
    """Estimate, log, show. Bad input gives the form back as it was sent, with the messages."""
    sent = EstimateForm(request.form)
    run = estimated(sent)
    return answered(run) if run else (form_page(sent), HTTPStatus.UNPROCESSABLE_ENTITY)


def estimated(sent: InputForm) -> Run | None:
    """The run of a form, not logged yet, or None with the messages added to the form."""
    if not sent.validate():
        return None
    try:
        return estimate_run(sent.raw(), source="web")
    except InvalidInput as error:
        sent.refuse(error)
        return None
