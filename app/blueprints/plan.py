"""Planning: the form, and what becomes of it when it is sent."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, abort, current_app, render_template, request

from app.blueprints.question import Question
from app.history.run_log import Run
from app.pages import plan_compare, plan_heat
from app.pages.form_examples import Start
from app.pages.forms import PlanForm
from app.pages.workloads import workloads
from app.planning import PLANNING_INPUTS
from app.runs import plan_run

bp = Blueprint("plan", __name__)


def starts() -> dict[str, Start]:
    """Typical workloads."""
    return {one.label: Start(inputs=one.planning, reason=one.reason) for one in workloads().values()}


QUESTION = Question(name="plan", form=PlanForm, declared=PLANNING_INPUTS, starts=starts, answer=plan_run)


@bp.get("/plan")
def form() -> str:
    return QUESTION.asked()


@bp.post("/plan")
def calculate() -> Any:
    return QUESTION.sent()


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
