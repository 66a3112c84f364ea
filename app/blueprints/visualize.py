"""The history page: every logged run in one table, and several of them side by side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, abort, current_app, redirect, render_template, request, send_file, url_for

from app.blueprints.progress import about, begun_by, job_page, jobs
from app.calculations.watch import Watch
from app.charts.history import memory_figure, throughput_figure, user_rate_figure
from app.charts.history_view import view_figure
from app.history import csv_export, view
from app.history.comparison import compared, input_lines, result_lines
from app.history.database import IndexUnavailable
from app.history.drift import drifts
from app.history.query import KINDS, MAX_COMPARED, PER_PAGE, Query
from app.history.rows import COLUMNS
from app.history.run_log import SOURCES
from app.history.table import MAX_EXPORTED, MAX_POINTS, History
from app.server.jobs import DONE, Busy

bp = Blueprint("visualize", __name__)

NO_FILE = "There is no such file any more: files are kept for an hour, and only the newest. Ask for it again."
#: Rows beyond which a file shows how far it is while it is written.
LARGE_FILE = 5000
#: Offered where nothing has been calculated yet: title, and what the form is filled with.
EXAMPLES = (
    (
        "A chat assistant: Llama 3.1 8B on one L40S",
        {
            "model": "meta-llama/Llama-3.1-8B-Instruct",
            "gpu": "l40s",
            "input_tokens": 1024,
            "output_tokens": 512,
        },
    ),
    (
        "Long documents: Qwen2.5 72B on H200 with an FP8 cache",
        {
            "model": "Qwen/Qwen2.5-72B-Instruct",
            "gpu": "h200-sxm",
            "input_tokens": 32_000,
            "output_tokens": 1000,
            "kv_precision": "fp8",
        },
    ),
    (
        "A mixture of experts at full load: DeepSeek V3 on B200",
        {"model": "deepseek-ai/DeepSeek-V3", "gpu": "b200", "concurrency": "saturated"},
    ),
)


def history() -> History:
    return current_app.extensions["history"]


@bp.get("/visualize")
def visualize() -> tuple[str, int]:
    """The table that the query string asks for, the chart of all that match, the comparison of runs it names."""
    query, errors = Query.read(request.args.to_dict(flat=False))
    with readable():
        page = history().query(query)
        runs = compared(history().runs(query.selected))
        points = history().points(query) if query.view.chart else []
    known = tuple(one.run.run_id for one in runs)
    html = render_template(
        "visualize/history.html",
        query=query.only(known, page.number),
        page=page,
        notes=history().notes.of([row.run_id for row in page.rows]),
        notes_problem=history().notes.problem,
        errors=errors,
        columns=COLUMNS,
        page_sizes=PER_PAGE,
        sources=SOURCES,
        kinds=KINDS,
        most_compared=MAX_COMPARED,
        beyond_last_page=query.page > page.number,
        lost=[run_id for run_id in query.selected if run_id not in known],
        runs=runs,
        examples=EXAMPLES,
        inputs=input_lines(runs),
        results=result_lines(runs),
        points=points,
        most_points=MAX_POINTS,
        large_file=LARGE_FILE,
        views=view,
        view_figure=view_figure(points, query.view) if points else None,
        drifts=drifts(runs) if query.drift else [],
        figures={
            "memory": memory_figure(runs),
            "throughput": throughput_figure(runs),
            "user-rate": user_rate_figure(runs),
        },
    )
    return html, HTTPStatus.BAD_REQUEST if errors else HTTPStatus.OK


@bp.get("/visualize.csv")
def table() -> Response:
    """All rows that the query string asks for, not only one page of them."""
    query, errors = Query.read(request.args.to_dict(flat=False))
    if errors:
        return Response("".join(f"{error}\n" for error in errors), HTTPStatus.BAD_REQUEST, mimetype="text/plain")
    with readable():
        matching = history().count(query)
        if matching > MAX_EXPORTED:
            return Response(f"{too_many(matching)}\n", HTTPStatus.UNPROCESSABLE_ENTITY, mimetype="text/plain")
        rows = history().matching(query, MAX_EXPORTED)
    response = Response(csv_export.lines(rows), mimetype="text/csv")
    response.headers["Content-Disposition"] = "attachment; filename=runs.csv"
    return response


def too_many(matching: int) -> str:
    return (
        f"{matching:,} runs match; a file holds up to {MAX_EXPORTED:,}. Narrow the filters, or use "
        "python -m app history --csv on the server."
    )


@bp.post("/visualize/export")
def export() -> Any:
    """The same as a file that a thread writes: its page says how far it is."""
    query, errors = Query.read(request.args.to_dict(flat=False))
    if errors:
        abort(HTTPStatus.BAD_REQUEST, " ".join(map(str, errors)))
    runs, asked = history(), query.args(selected=())
    with readable():
        matching = runs.count(query)
    if matching > MAX_EXPORTED:
        abort(HTTPStatus.UNPROCESSABLE_ENTITY, too_many(matching))

    def write(path: Path, watch: Watch) -> dict[str, Any]:
        return {"rows": csv_export.write_file(path, runs, query, MAX_EXPORTED, watch), "bytes": path.stat().st_size}

    try:
        job_id = jobs().start_file(write, about("export", asked))
    except Busy:
        abort(
            HTTPStatus.SERVICE_UNAVAILABLE, "Several long calculations are being made already. Try again in a minute."
        )
    except OSError:  # Nothing can be kept, so who asked waits for it.
        return redirect(url_for("visualize.table", **asked), HTTPStatus.SEE_OTHER)
    return redirect(url_for("visualize.exported", job_id=job_id), HTTPStatus.SEE_OTHER)


@bp.get("/visualize/export/<job_id>")
def exported(job_id: str) -> Response:
    """How far a file is; once it is written, where it is."""
    begun = begun_by("export", job_id)
    if begun is None or (begun[0].state == DONE and jobs().file(job_id) is None):
        abort(HTTPStatus.NOT_FOUND, NO_FILE)
    job, asked = begun
    return job_page("visualize/export.html", job, back=url_for("visualize.visualize", **asked))


@bp.get("/visualize/export/<job_id>/runs.csv")
def exported_file(job_id: str) -> Response:
    path = jobs().file(job_id)
    if path is None:
        abort(HTTPStatus.NOT_FOUND, NO_FILE)
    return send_file(path, mimetype="text/csv", as_attachment=True, download_name="runs.csv")


@contextmanager
def readable() -> Iterator[None]:
    """503, with the reason, where the log or its index cannot be read."""
    try:
        yield
    except OSError as error:
        abort(HTTPStatus.SERVICE_UNAVAILABLE, f"The log of runs cannot be read: {error.strerror}.")
    except IndexUnavailable as error:
        abort(HTTPStatus.SERVICE_UNAVAILABLE, f"The index of the history cannot be used: {error}.")
