"""The accuracy page: predictions beside published measurements."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, render_template, request

from app.accuracy import crossvalidated
from app.accuracy import page as accuracy_page
from app.accuracy.query import LABELS, Query, choices
from app.charts.accuracy import accuracy_figure

bp = Blueprint("accuracy", __name__)


@bp.get("/accuracy")
def measured() -> tuple[str, int]:
    """Errors of the measurements that the query string asks for, beside those of all."""
    query, errors = Query.read(request.args.to_dict(flat=False))
    status = HTTPStatus.BAD_REQUEST if errors else HTTPStatus.OK
    data = crossvalidated.current()
    if data is None:
        return render_template("accuracy/missing.html"), status
    mask = query.mask(data)
    points = accuracy_page.points(data, mask)
    html = render_template(
        "accuracy/accuracy.html",
        query=query,
        errors=errors,
        data=data,
        page=accuracy_page,
        labels=LABELS,
        choices=choices(data, query),
        matching=int(mask.sum()),
        predicted=int((mask & data.is_predicted).sum()),
        drawn=len(points),
        figure=accuracy_figure(data, points) if points else None,
    )
    return html, status


@bp.get("/accuracy.csv")
def table() -> Response:
    """The measurements that the query string asks for, each with its prediction."""
    query, errors = Query.read(request.args.to_dict(flat=False))
    data = crossvalidated.current()
    if errors or data is None:
        said = "".join(f"{error}\n" for error in errors) or "Not calibrated yet.\n"
        return Response(said, HTTPStatus.BAD_REQUEST if errors else HTTPStatus.NOT_FOUND, mimetype="text/plain")
    response = Response(accuracy_page.csv_lines(data, query.mask(data)), mimetype="text/csv")
    response.headers["Content-Disposition"] = "attachment; filename=accuracy.csv"
    return response
