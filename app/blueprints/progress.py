"""Pages of work that takes long: they say how far it is and look again by themselves, without scripts too."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Response, current_app, make_response, render_template

from app.server.jobs import FAILED, RUNNING, Job, Jobs

#: How often a page looks again.
AGAIN_SECONDS = 1


def jobs() -> Jobs:
    return current_app.extensions["jobs"]


def about(page: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a job keeps of who began it: the page that tells how far it is, and what was asked there."""
    return {page: dict(asked)}


def begun_by(page: str, job_id: str) -> tuple[Job, Mapping[str, Any]] | None:
    """The job of an id and what was asked; None where there is none, or where another page began it."""
    job = jobs().look(job_id)
    return (job, job.about[page]) if job is not None and page in job.about else None


def job_page(template: str, job: Job, **parts: Any) -> Response:
    """The page of a job: of one that runs it comes again, of one that failed it is an error."""
    page = make_response(render_template(template, job=job, **parts))
    page.headers["Cache-Control"] = "no-store"
    if job.state == FAILED:
        page.status_code = HTTPStatus.INTERNAL_SERVER_ERROR
    elif job.state == RUNNING:
        page.headers["Refresh"] = str(AGAIN_SECONDS)
    return page
