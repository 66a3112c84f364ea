# Each target sets up what it needs in .venv; the first time takes about half a minute, later ones a moment.
# ARGS passes arguments on, e.g. make test ARGS="tests/calculations -x". PYTHON names another Python for .venv.

PY := .venv/bin/python
# Servers and the many processes of the tests start in half the time where modules stay compiled.
unexport PYTHONDONTWRITEBYTECODE
ARGS ?=

.PHONY: help run test lint format container clean setup

help:
	@echo "make run        serve on http://localhost:5000 (PORT, HOST, WEB_CONCURRENCY, LOG_DIR, SECRET_KEY)"
	@echo "make test       run the tests (ARGS=... for pytest)"
	@echo "make lint       check style, format and types"
	@echo "make format     mend what of the style can be mended by itself"
	@echo "make container  build the image without a Docker daemon and prove that it serves (needs root and buildah)"
	@echo "make clean      remove .venv and caches; the log of runs stays"

run:
	@scripts/environment requirements.txt
	@exec $(PY) -m app.config $(PY) -m gunicorn $(ARGS) wsgi:app

setup:
	@scripts/environment requirements-dev.txt

test: setup
	@$(PY) -m pytest -n auto --dist loadfile $(ARGS)

lint: setup
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check --output-format concise . || { echo "The format differs; make format mends it." >&2; exit 1; }
	@$(PY) -m mypy

format: setup
	@$(PY) -m ruff check --fix --exit-zero .
	@$(PY) -m ruff format .

container:
	@scripts/check-container

clean:
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis __pycache__
	find app tests -name __pycache__ -type d -prune -exec rm -rf {} +
