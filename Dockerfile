# docker build -t llm-scaling-calculator .
# docker run -p 5000:5000 -v "$(pwd)/logging:/app/logging" llm-scaling-calculator

FROM python:3.12-slim AS build
WORKDIR /app
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY requirements.lock ./
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock
COPY static static
RUN python -m whitenoise.compress --quiet static
COPY app app
RUN python -m compileall -q app


FROM python:3.12-slim
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=5000 \
    DATA_DIR=/app/logging/data
WORKDIR /app
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app/app app
COPY --from=build /app/static static
COPY templates templates
COPY docs docs
COPY wsgi.py gunicorn.conf.py ./

# The one place to write to, open to any user of the image: the log of runs, and what users save.
RUN install -d -m 0777 logging

# 1000 is the first user of most hosts, so a directory that they mount can be written to; --user sets another.
USER 1000:1000
EXPOSE 5000
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["python", "-c", "import http.client, sys; from app.config import setting; c = http.client.HTTPConnection('127.0.0.1', setting('PORT'), timeout=4); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
CMD ["python", "-m", "app.config", "gunicorn", "wsgi:app"]
