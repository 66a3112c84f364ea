"""The application that a WSGI server serves: `gunicorn wsgi:app`."""

from app.factory import create_app

app = create_app()
