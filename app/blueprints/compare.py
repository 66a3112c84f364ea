"""Runs side by side, with ratios to one of them. The address holds which: /compare?ids=a,b,c&baseline=b."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, abort, render_template, request

from app.blueprints.visualize import history, readable
from app.charts.history import memory_figure, throughput_figure, user_rate_figure
from app.history.comparison import compared, input_lines
from app.history.query import Query
from app.pages.compare import MOST, number_lines

bp = Blueprint("compare", __name__)

#: Recent runs that are offered beside those that are compared.
OFFERED = 8


@bp.get("/compare")
def compare() -> Any:
    """The table of the runs in the address, and recent ones that can be added."""
    asked = [one.strip() for text in request.args.getlist("ids") for one in text.split(",")]
    ids = list(dict.fromkeys(one for one in asked if one))
    if len(ids) > MOST:
        abort(HTTPStatus.BAD_REQUEST, f"ids: {len(ids)} runs are compared. Allowed: up to {MOST}.")
    with readable():
        runs = compared(history().runs(ids))
        recent = history().query(Query()).rows
    known = [one.run.run_id for one in runs]
    named = request.args.get("baseline", "")
    baseline = known.index(named) if named in known else 0
    lines = input_lines(runs)
    everything = request.args.get("inputs") == "all"
    return render_template(
        "compare/compare.html",
        runs=runs,
        ids=known,
        notes=history().notes.of([one.run.run_id for one in runs]),
        notes_problem=history().notes.problem,
        lost=[one[:80] for one in ids if one not in known],
        baseline=baseline,
        numbers=number_lines(runs, baseline) if runs else [],
        inputs=[line for line in lines if everything or line.differs],
        hidden=sum(not line.differs for line in lines) if not everything else 0,
        everything=everything,
        offered=[row for row in recent if row.run_id not in known][:OFFERED],
        most=MOST,
        figures={
            "memory": memory_figure(runs),
            "throughput": throughput_figure(runs),
            "user-rate": user_rate_figure(runs),
        },
    )
