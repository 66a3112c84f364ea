"""Planning: the form, and what becomes of it when it is sent."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, render_template, request

from app.blueprints.results import answered
from app.calculations.errors import InvalidInput
from app.forms import COMPLETE, InputForm, PlanForm
from app.run_log import Run
from app.runs import plan_run

bp = Blueprint("plan", __name__)

#: Loads to start from: name -> inputs that it fills in.
EXAMPLES = {
    "Chat": {"input_tokens": 1000, "output_tokens": 300, "request_rate": 20, "max_ttft_ms": 500, "max_tpot_ms": 40},
    "RAG": {"input_tokens": 6000, "output_tokens": 400, "request_rate": 5, "max_ttft_ms": 2000, "max_tpot_ms": 50},
    "Code": {"input_tokens": 2000, "output_tokens": 150, "request_rate": 50, "max_ttft_ms": 300, "max_tpot_ms": 20},
    "Batch": {"input_tokens": 2000, "output_tokens": 500, "request_rate": 10, "max_ttft_ms": "", "max_tpot_ms": ""},
}


def form_page(form: InputForm) -> str:
    return render_template("plan/form.html", form=form, groups=form.groups(), complete=COMPLETE, examples=EXAMPLES)


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
