"""`python -m app password`: what AUTH_PASSWORD_HASH holds, without the password in a shell's history."""

from __future__ import annotations

import click


@click.command()
def password() -> None:
    """Ask for a password and print what AUTH_PASSWORD_HASH is set to for it."""
    from werkzeug.security import generate_password_hash

    typed = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    click.echo(generate_password_hash(typed))
