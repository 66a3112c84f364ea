"""How gunicorn serves the application; it reads this file from its working directory. Settings: app/config.py."""

import atexit
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

# The project; installed by pip this file lies inside the package, whose parent is meant.
sys.path.insert(0, str(next(d for d in Path(__file__).resolve().parents if (d / "app").is_dir())))

from app.config import settings_or_exit

settings = settings_or_exit(os.environ)

bind = f"{settings['HOST']}:{settings['PORT']}"
workers = settings["WEB_CONCURRENCY"]
worker_class = "gthread"
threads = 4

# One load of the application before the workers fork: they share its memory.
preload_app = True

timeout = 60
graceful_timeout = 30
keepalive = 5

# Heartbeat files in memory, so that a slow disk or a read-only file system never kills a worker.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108

# gunicorn 27 would open a socket in the home directory, which a container's user does not have.
control_socket_disable = True

# Start, stop and errors go to stderr. A line of JSON per request: REQUEST_LOG=1.
errorlog = "-"
accesslog = None
access_log_format = '%(t)s "%(r)s" %(s)s %(B)s bytes %(M)s ms'

# Where the workers count for /metrics, each in a file of its own; app/server/metrics.py. Without it each counts alone.
# A reload reads this file again and keeps it.
MADE_HERE = "calculator-metrics-"
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    with suppress(OSError):
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(
            prefix=f"{MADE_HERE}{os.getpid()}-", dir=worker_tmp_dir
        )


def remove_counts(made_by=MADE_HERE):
    directory = Path(os.environ.get("PROMETHEUS_MULTIPROC_DIR", ""))
    if directory.name.startswith(made_by):
        shutil.rmtree(directory, ignore_errors=True)


@atexit.register
def remove_counts_of_a_failed_start():
    """on_exit is not called after one. The name tells a worker, which has been forked, that it made nothing."""
    remove_counts(f"{MADE_HERE}{os.getpid()}-")


def child_exit(server, worker):
    """What a worker counted stays; what it measured at the moment goes with it."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(worker.pid)


def on_exit(server):
    remove_counts()
