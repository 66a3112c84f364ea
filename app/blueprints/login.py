"""The login with the one password of AUTH_PASSWORD_HASH."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, session, url_for
from werkzeug.exceptions import TooManyRequests

from app.server import login as access
from app.server.clients import household

bp = Blueprint("login", __name__)


@bp.get("/login")
def form() -> Any:
    """The form; without a password to ask for there is no such page."""
    if access.password() is None:
        abort(HTTPStatus.NOT_FOUND)
    return page(request.args.get("next", "/"))


@bp.post("/login")
def login() -> Any:
    """Go on to the page that was wanted, or the form again with what is wrong."""
    password = access.password()
    if password is None:
        abort(HTTPStatus.NOT_FOUND)
    target = access.safe_target(request.form.get("next", "/"))
    try:
        right = password.is_right(request.form.get("password", ""), household(access.client()))
    except TooManyRequests as error:
        refused = f"{error.description} Try again in {error.retry_after} s."
        return page(target, refused), HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": str(error.retry_after)}
    if not right:
        return page(target, "This is not the password."), HTTPStatus.UNPROCESSABLE_ENTITY
    access.begin()
    return redirect(target, HTTPStatus.SEE_OTHER)


@bp.post("/logout")
def logout() -> Any:
    """End the login in this browser."""
    session.clear()
    return redirect(url_for("login.form"), HTTPStatus.SEE_OTHER)


def page(target: str, error: str = "") -> str:
    return render_template("login/login.html", target=access.safe_target(target), error=error)
