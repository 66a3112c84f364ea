"""Planning: the form, and what becomes of it when it is sent."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, abort, current_app, render_template, request

from app import plan_compare, plan_heat
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


@bp.get("/results/<run_id>/plans")
def compared(run_id: str) -> Any:
    """Plans of a run side by side: `plan` are their places in its list, `baseline` one of them."""
    run, plans = plans_of(run_id)
    asked = [text for text in request.args.getlist("plan") if text.strip()] or ["1", "2", "3"][: len(plans)]
    places = [place(text, "plan", len(plans)) for text in dict.fromkeys(asked)]
    if len(places) > plan_compare.MOST:
        abort(HTTPStatus.BAD_REQUEST, f"plan: {len(places)} plans are compared. Allowed: up to {plan_compare.MOST}.")
    baseline = place(request.args.get("baseline") or str(places[0] + 1), "baseline", len(plans))
    if baseline not in places:
        baseline = places[0]
    table = plan_compare.compared([plans[one] for one in places], places.index(baseline))
    return render_template("plan/compare.html", run=run, table=table, numbers=[one + 1 for one in places])


@bp.get("/results/<run_id>/heat")
def heat(run_id: str) -> Any:
    """The best plan's accelerator at other numbers of GPUs and requests."""
    run, plans = plans_of(run_id)
    found = plan_heat.cells(run.inputs, plans[0])
    return render_template(
        "plan/heat.html",
        run=run,
        best=plans[0],
        found=found,
        gpus=plan_heat.GPUS,
        requests=plan_heat.REQUESTS,
        figure=plan_heat.heat_figure(found),
    )


def plans_of(run_id: str) -> tuple[Run, list[Any]]:
    """A logged plan and its list; 404 where there is none."""
    run = current_app.extensions["history"].run(run_id)
    plans = (run.results.get("plans") or run.results.get("closest")) if run is not None and run.kind == "plan" else None
    if run is None or not plans:
        abort(HTTPStatus.NOT_FOUND, f"The log has no plan with the id {run_id[:64]!r}.")
    return run, plans


def place(text: str, field: str, count: int) -> int:
    """A place in the list, counted from one."""
    if not (text.isascii() and text.isdigit() and len(text) < 4 and 1 <= int(text) <= count):
        abort(HTTPStatus.BAD_REQUEST, f"{field}: {text[:40]!r} is no plan of this run. Allowed: 1 to {count}.")
    return int(text) - 1
