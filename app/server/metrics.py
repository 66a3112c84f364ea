"""What the server counts for Prometheus: requests and their seconds, runs, failed writes, how far the index lags.

Under gunicorn the workers add up: gunicorn.conf.py names PROMETHEUS_MULTIPROC_DIR before this module is imported, and
each process counts in a file of its own there. Without it the numbers are those of this process.
"""

from __future__ import annotations

import os

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = CONTENT_TYPE_LATEST
#: Upper limits of the histogram's buckets.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
#: A label for each that HTTP knows; a client may make up others, which share one.
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

registry = CollectorRegistry()
REQUESTS = Counter("calculator_requests", "Requests answered.", ("method", "endpoint", "status"), registry=registry)
REQUEST_SECONDS = Histogram(
    "calculator_request_seconds", "Seconds from a request to its answer.", ("endpoint",), buckets=SECONDS,
    registry=registry,
)  # fmt: skip
RUNS_APPENDED = Counter("calculator_runs_appended", "Runs written to the log.", ("kind",), registry=registry)
FAILED_WRITES = Counter("calculator_failed_writes", "Runs that the log could not take.", registry=registry)
INDEX_LAG_BYTES = Gauge(
    "calculator_index_lag_bytes", "Bytes of the log that the index has not read.", registry=registry,
    multiprocess_mode="mostrecent",
)  # fmt: skip


def answered(method: str, endpoint: str, status: int, seconds: float) -> None:
    """Count a request."""
    REQUESTS.labels(method if method in METHODS else "other", endpoint, str(status)).inc()
    REQUEST_SECONDS.labels(endpoint).observe(seconds)


def text() -> bytes:
    """All numbers of all processes in Prometheus's format."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(registry)
    together = CollectorRegistry()
    MultiProcessCollector(together)
    return generate_latest(together)
