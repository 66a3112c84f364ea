"""The calculator: the form, and what becomes of it when it is sent."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, render_template, request

from app.blueprints.results import answered
from app.calculations.errors import InvalidInput
from app.forms import COMPLETE, EstimateForm, InputForm
from app.run_log import Run
from app.runs import estimate_run

bp = Blueprint("calculator", __name__)

#: Workloads to start from: name, prompt and output tokens.
WORKLOADS = (("Chat", 1024, 512), ("Retrieval", 8192, 512), ("Summary", 32_768, 1024), ("Code", 4096, 2048))


def form_page(form: InputForm) -> str:
    return render_template(
        "calculator/form.html", form=form, groups=form.groups(), complete=COMPLETE, workloads=WORKLOADS
    )


@bp.get("/")
def form() -> str:
    """The form, filled from the query string; what cannot be used there is told beside its field."""
    filled = EstimateForm(request.args)
    if request.args:
        filled.validate()
    return form_page(filled)


@bp.post("/")
def calculate() -> Any:
    """Estimate, log, show. Bad input gives the form back as it was sent, with the messages."""
    sent = EstimateForm(request.form)
    run = estimated(sent)
    return answered(run) if run else (form_page(sent), HTTPStatus.UNPROCESSABLE_ENTITY)


def estimated(sent: InputForm) -> Run | None:
    """The run of a form, or None with the messages added to it."""
    if not sent.validate():
        return None
    try:
        return estimate_run(sent.raw(), source="web")
    except InvalidInput as error:
        sent.refuse(error)
        return None
