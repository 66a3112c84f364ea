"""Planning: the form, and what becomes of it when it is sent."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, render_template, request

from app.blueprints.results import answered
from app.calculations.errors import InvalidInput
from app.form_examples import examples
from app.forms import COMPLETE, InputForm, PlanForm
from app.planning import PLANNING_INPUTS
from app.run_log import Run
from app.runs import plan_run
from app.workloads import workloads

bp = Blueprint("plan", __name__)


def form_page(form: InputForm) -> str:
    typical = {one.label: one.planning for one in workloads().values()}
    reasons = {one.label: one.reason for one in workloads().values()}
    return render_template(
        "plan/form.html",
        form=form,
        groups=form.groups(),
        complete=COMPLETE,
        examples=examples(form, typical, PLANNING_INPUTS, "plan.form", reasons),
    )


@bp.get("/plan")
def form() -> str:
    """The form, filled from the query string; what cannot be used there is told beside its field."""
    filled = PlanForm(request.args)
    if request.args:
        filled.validate()
    return form_page(filled)


@bp.post("/plan")
def calculate() -> Any:
    """Search, log, show. Bad input gives the form back as it was sent, with the messages."""
    sent = PlanForm(request.form)
    run = estimated(sent)
    return answered(run) if run else (form_page(sent), HTTPStatus.UNPROCESSABLE_ENTITY)


def estimated(sent: InputForm) -> Run | None:
    """The run of a form, or None with the messages added to it."""
    if not sent.validate():
        return None
    try:
        return plan_run(sent.raw(), source="web")
    except InvalidInput as error:
        sent.refuse(error)
        return None
