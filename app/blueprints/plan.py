"""Planning: the form, and what becomes of it when it is sent."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Blueprint, abort, current_app, redirect, render_template, request, url_for

from app.blueprints.progress import about, begun_by, job_page, jobs
from app.blueprints.question import Question
from app.blueprints.results import logged, result_page, shown
from app.calculations.errors import InvalidInput
from app.calculations.watch import Watch
from app.history.run_log import Run
from app.pages import plan_compare, plan_heat
from app.pages.form_examples import Start
from app.pages.forms import InputForm, PlanForm
from app.pages.plan import plans_of
from app.pages.preview_plan import of_plan
from app.pages.workloads import workloads
from app.planning import PLANNING_INPUTS, outline, question
from app.runs import plan_run
from app.saving import not_saved
from app.server.jobs import DONE, Busy

bp = Blueprint("plan", __name__)


def starts() -> dict[str, Start]:
    """Typical workloads."""
    return {one.label: Start(inputs=one.planning, reason=one.reason) for one in workloads().values()}


#: Combinations of accelerators with models, engines and formats beyond which a search shows how far it is.
LONG = 200
QUESTION = Question(
    name="plan", operation="plan", form=PlanForm, declared=PLANNING_INPUTS, starts=starts, answer=plan_run
)


@bp.get("/plan")
def form() -> str:
    return QUESTION.asked()


@bp.get("/plan/preview")
def preview() -> str:
    """What can be said while the form is edited, without the search."""
    return QUESTION.previewed(lambda raw: of_plan(outline(raw), LONG), "plan/_preview.html")


@bp.post("/plan")
def calculate() -> Any:
    """The answer's page; of a long search a page that shows how far it is until then."""
    sent = PlanForm(request.form)
    if not is_long(sent):
        return QUESTION.sent()
    raw, app = sent.raw(), current_app._get_current_object()  # type: ignore[attr-defined]

    def work(watch: Watch) -> dict[str, Any]:
        run = plan_run(raw, source="web", watch=watch)
        with app.app_context():
            problem = not_saved(run)
        return {"run_id": run.run_id} | ({"run": run.as_dict(), "not_saved": problem} if problem else {})

    try:
        job_id = jobs().start(work, about("plan", {name: text for name, text in raw.items() if text}))
    except Busy:
        sent.refuse(InvalidInput("", "Several long plans are being made already. Try again in a minute."))
        return QUESTION.page(sent), HTTPStatus.SERVICE_UNAVAILABLE
    except OSError:  # Nothing can be kept, so who asked waits for it.
        return QUESTION.sent()
    return redirect(url_for("plan.progress", job_id=job_id), HTTPStatus.SEE_OTHER)


def is_long(sent: InputForm) -> bool:
    """Whether a form asks for a search that takes more than a moment; what is wrong with it takes none."""
    try:
        return bool(sent.validate()) and question(sent.raw()).combinations > LONG
    except InvalidInput:
        return False


@bp.get("/plan/progress/<job_id>")
def progress(job_id: str) -> Any:
    """How far a plan is; once it is made, its page."""
    begun = begun_by("plan", job_id)
    if begun is None:
        abort(HTTPStatus.NOT_FOUND, "No plan is being made under this address. One that was made is in the history.")
    job, asked = begun
    if job.state == DONE and "run" in job.outcome:
        return result_page(Run.from_dict(job.outcome["run"]), not_saved=job.outcome["not_saved"])
    if job.state == DONE:
        return redirect(url_for("results.result", run_id=job.outcome["run_id"]), HTTPStatus.SEE_OTHER)
    return job_page("plan/progress.html", job, asked=asked, change=url_for("plan.form", **asked))


@bp.get("/results/<run_id>/plans")
def compared(run_id: str) -> Any:
    """Plans of a run side by side: `plan` are their places in its list, `baseline` one of them."""
    run, plans = logged_plans(run_id)
    asked = [text for text in request.args.getlist("plan") if text.strip()] or ["1", "2", "3"][: len(plans)]
    places = [place(text, "plan", len(plans)) for text in dict.fromkeys(asked)]
    if len(places) > plan_compare.MOST:
        abort(HTTPStatus.BAD_REQUEST, f"plan: {len(places)} plans are compared. Allowed: up to {plan_compare.MOST}.")
    baseline = place(request.args.get("baseline") or str(places[0] + 1), "baseline", len(plans))
    if baseline not in places:
        baseline = places[0]

    def page() -> str:
        table = plan_compare.compared([plans[one] for one in places], places.index(baseline))
        return render_template("plan/compare.html", run=run, table=table, numbers=[one + 1 for one in places])

    return shown(run, page)


@bp.get("/results/<run_id>/heat")
def heat(run_id: str) -> Any:
    """The best plan's accelerator at other numbers of GPUs and requests."""
    run, plans = logged_plans(run_id)

    def page() -> str:
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

    return shown(run, page)


def logged_plans(run_id: str) -> tuple[Run, list[Mapping[str, Any]]]:
    """A logged plan and its list; 404 where there is none."""
    run = logged(run_id)
    plans = plans_of(run) if run is not None else []
    if run is None or not plans:
        abort(HTTPStatus.NOT_FOUND, f"The log has no plan with the id {run_id[:64]!r}.")
    return run, plans


def place(text: str, field: str, count: int) -> int:
    """A place in the list, counted from one."""
    if not (text.isascii() and text.isdigit() and len(text) < 4 and 1 <= int(text) <= count):
        abort(HTTPStatus.BAD_REQUEST, f"{field}: {text[:40]!r} is no plan of this run. Allowed: 1 to {count}.")
    return int(text) - 1
