"""The page of one run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, abort, current_app, redirect, render_template, request, url_for
from jinja2 import UndefinedError

from app import json_text, show_work
from app.accuracy import nearest
from app.calculations.errors import InvalidInput
from app.glossary import serving
from app.glossary.planning import PLANNING_KEYS
from app.history.note import note_of
from app.history.run_log import Run, utc_text
from app.pages import memory_bar, plan, result_csv, result_tabs, train
from app.pages import result as page
from app.pages.forms import share_args
from app.planning import PLANNING_INPUTS
from app.saving import not_saved
from app.training_scenarios import ALL_TRAINING_INPUTS, chosen_inputs

bp = Blueprint("results", __name__)

#: What a page stumbles over where a line of the log is a run that no version of the calculator has made.
STUMBLES = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, UndefinedError)


@bp.get("/results/<run_id>")
def result(run_id: str) -> Any:
    """A logged run; 404 with what to do where the log has none of this id."""
    run = logged(run_id)
    return result_page(run) if run else missing(run_id)


@bp.get("/results/<run_id>.csv")
def table(run_id: str) -> Any:
    """The inputs and results of a run, a line each, for a spreadsheet."""
    run = logged(run_id)
    if run is None:
        return missing(run_id)
    response = Response(result_csv.text(run), mimetype="text/csv")
    response.headers["Content-Disposition"] = f"attachment; filename=run-{run.run_id}.csv"
    return response


@bp.post("/results/<run_id>/note")
def annotate(run_id: str) -> Any:
    """Keep tags and a note of a run: a new line, which counts from now on. Bad ones give the page back with why."""
    run = logged(run_id)
    if run is None:
        return missing(run_id)
    tags, text = request.form.get("tags", ""), request.form.get("note", "")
    try:
        note = note_of(run.run_id, utc_text(datetime.now(UTC).isoformat()), tags=tags, text=text)
        current_app.extensions["run_notes"].add(note)
    except (InvalidInput, OSError) as error:
        refused, status = error, HTTPStatus.UNPROCESSABLE_ENTITY
        if isinstance(error, OSError):
            refused = InvalidInput("", f"The note could not be saved: {error.strerror}.")
            status = HTTPStatus.SERVICE_UNAVAILABLE
        return result_page(run, note_problem=refused, note_typed={"tags": tags, "text": text}), status
    return redirect(url_for("results.result", run_id=run.run_id, _anchor="note"), HTTPStatus.SEE_OTHER)


def logged(run_id: str) -> Run | None:
    """The run of this id; 503 where the log cannot be read."""
    try:
        return current_app.extensions["history"].run(run_id)
    except OSError as error:
        abort(HTTPStatus.SERVICE_UNAVAILABLE, f"The log of runs cannot be read: {error.strerror}.")


def missing(run_id: str) -> tuple[str, int]:
    return render_template("results/missing.html", run_id=run_id[:80]), HTTPStatus.NOT_FOUND


def shown(run: Run, page: Callable[[], Any]) -> Any:
    """A page of a logged run; where it cannot be made of what the log holds, the run as it was logged."""
    try:
        return page()
    except STUMBLES:
        current_app.logger.warning("Run %s of the log cannot be shown", run.run_id, exc_info=True)
        return as_logged(run)


def as_logged(run: Run) -> str:
    return render_template("results/other.html", run=run, document=json_text.write(run.as_dict(), indent=2))


def answered(run: Run) -> Any:
    """Log a run and lead to its page. Where the log cannot be written, the page itself with the reason."""
    problem = not_saved(run)
    if problem:
        return result_page(run, not_saved=problem)
    return redirect(url_for("results.result", run_id=run.run_id), HTTPStatus.SEE_OTHER)


def result_page(run: Run, *, not_saved: str = "", **asides: Any) -> Any:
    """The page of a run, also of one that could not be logged: then with the reason. `asides`: what was wrong with a
    note, and what it was."""
    if not_saved:  # Made a moment ago: if it cannot be shown, that is no fault of the log.
        return page_of_kind(run, not_saved=not_saved, note=None, **asides)
    notes = current_app.extensions["run_notes"]
    asides["note"] = notes.of([run.run_id]).get(run.run_id)
    asides["notes_problem"] = notes.problem
    return shown(run, lambda: page_of_kind(run, not_saved="", **asides))


def page_of_kind(run: Run, *, not_saved: str, **asides: Any) -> str:
    """The page of an estimate, a training run or a plan; anything else as it was logged."""
    if run.kind == "train" and train.is_complete(run.results):
        change = url_for("train.form", **share_args(chosen_inputs(run.inputs), ALL_TRAINING_INPUTS))
        parts = train.parts(run.inputs, run.results)
        return render_template("train/result.html", run=run, not_saved=not_saved, change=change, **asides, **parts)
    if run.kind == "plan" and page.is_complete(run.results, PLANNING_KEYS):
        change = url_for("plan.form", **share_args(run.inputs, PLANNING_INPUTS))
        parts = plan.parts(run.inputs, run.results)
        return render_template("plan/result.html", run=run, not_saved=not_saved, change=change, **asides, **parts)
    if run.kind != "estimate" or not page.is_complete(run.results):
        return as_logged(run)
    return estimate_page(run, not_saved=not_saved, **asides)


def estimate_page(run: Run, *, not_saved: str, **asides: Any) -> str:
    """The page of an estimate; of what its tabs hold only the one that is asked for is worked out."""
    tab = result_tabs.tab_of(request.args.get("tab"))
    missed = result_tabs.missed(run.inputs, run.results)
    shows_work = not_saved or tab in ("operators", "equations")
    return render_template(
        "results/result.html",
        run=run,
        found=run.results,
        not_saved=not_saved,
        state=page.state(run.results),
        bar=memory_bar.of_serving(run.results),
        metrics=page.metrics(run.results),
        notes=page.notes(run.inputs, run.results),
        missed=missed,
        warnings=result_tabs.warnings(run.results),
        fixes=result_tabs.fix_rows(run.inputs) if missed or not run.results["fits"] else [],
        tabs=result_tabs.TABS,
        tab=tab,
        tab_parts=result_tabs.parts(tab, run),
        cells=result_tabs.cells,
        memory_rows=page.memory_rows(run.results),
        memory_names=page.MEMORY_NAMES,
        flops_rows=page.flops_rows(run.results),
        bound_rows=page.bound_rows(run.results),
        phases=page.bound_phases(run.results),
        figures=page.figures(run.results),
        input_rows=page.input_rows(run.inputs),
        change=url_for("calculator.form", **share_args(run.inputs)),
        work=page.work(run.inputs, run.results) if shows_work else None,
        shown=show_work,
        nearest=nearest.block(run.inputs, run.results) if not_saved or tab == "overview" else None,
        nearness=serving.NEARNESS,
        **asides,
    )
