"""Work that takes longer than a page should wait: a thread does it, and any process of the machine says how far it is.

One file of JSON per job under DATA_DIR/jobs, which the thread writes whole, under another name first. A job that runs
and has not been written for LOST_SECONDS has lost its process. A job may make a file, which lies beside.
"""

from __future__ import annotations

import contextvars
import fcntl
import json
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from app.calculations.errors import InvalidInput
from app.calculations.watch import Watch

logger = logging.getLogger(__name__)

RUNNING, DONE, FAILED = "running", "done", "failed"
ID = re.compile(r"[0-9a-f]{16}")
#: Jobs that run at once on a machine.
MOST_RUNNING = 4
#: A job tells how far it is at most so often, and counts as lost after so long without a word.
TELL_SECONDS, LOST_SECONDS = 0.2, 60.0
#: What came of a job is kept so long; of the files that jobs made, only so many of the newest.
KEEP_SECONDS, MOST_FILES = 3600.0, 4
LOST = "The process that worked on it has ended."
#: The ending of the files that jobs make.
MADE = ".made"
UNFORESEEN = "An unforeseen error ended it; the server's log has more."


class Busy(Exception):
    """As many jobs run as may."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """How far a job is: `done` of `of` parts at the time `beat`, in seconds since 1970."""

    id: str
    beat: float
    #: What was asked.
    about: Mapping[str, Any]
    state: str = RUNNING
    done: int = 0
    of: int = 0
    #: What came of it, or why nothing did.
    outcome: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


class Jobs:
    """The jobs of one directory. Safe among threads and processes."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.time) -> None:
        self._directory = Path(directory) / "jobs"
        self._clock = clock

    def start(self, work: Callable[[Watch], Mapping[str, Any]], about: Mapping[str, Any]) -> str:
        """Begin a job that ends with what `work` returns; its id. Raises Busy, or OSError where nothing can be kept."""
        return self._begin(lambda job: work, about)

    def start_file(self, write: Callable[[Path, Watch], Mapping[str, Any]], about: Mapping[str, Any]) -> str:
        """The same for one that writes a file, which `file` finds once it is done."""
        return self._begin(lambda job: partial(write, self._path(job.id, MADE)), about)

    def file(self, job_id: str) -> Path | None:
        """The file that a job made; None where it is not done, made none, or the file is no longer kept."""
        job = self.look(job_id)
        path = self._path(job.id, MADE) if job is not None and job.state == DONE else None
        return path if path is not None and path.is_file() else None

    def _begin(self, work_of: Callable[[Job], Callable[[Watch], Mapping[str, Any]]], about: Mapping[str, Any]) -> str:
        self._directory.mkdir(parents=True, exist_ok=True)
        with self._alone():
            if self._tidied() >= MOST_RUNNING:
                raise Busy
            job = Job(id=secrets.token_hex(8), beat=self._clock(), about=dict(about))
            self._write(job)
        context = contextvars.copy_context()  # Who asks decides whose saved models and prices there are.
        arguments = (self._run, job, work_of(job))
        threading.Thread(target=context.run, args=arguments, daemon=True, name=f"job {job.id}").start()
        return job.id

    def look(self, job_id: str) -> Job | None:
        """The job of an id, failed where its process is gone; None where there is none."""
        if not ID.fullmatch(job_id):
            return None
        try:
            job = Job(**json.loads(self._path(job_id).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        lost = job.state == RUNNING and self._clock() - job.beat > LOST_SECONDS
        return replace(job, state=FAILED, problem=LOST) if lost else job

    def _run(self, job: Job, work: Callable[[Watch], Mapping[str, Any]]) -> None:
        latest = job

        def watch(done: int, of: int) -> None:
            nonlocal latest
            if self._clock() - latest.beat >= TELL_SECONDS:
                latest = replace(latest, done=done, of=of, beat=self._clock())
                with suppress(OSError):  # It is told again soon.
                    self._write(latest)

        ended = replace(job, state=FAILED, problem=UNFORESEEN)
        try:
            ended = replace(job, state=DONE, outcome=dict(work(watch)))
        except InvalidInput as error:
            ended = replace(job, state=FAILED, problem=error.message)
        except Exception:
            logger.exception("Job %s ended by an error that nobody foresaw", job.id)
        with suppress(OSError):
            self._write(replace(ended, beat=self._clock()))

    def _tidied(self) -> int:
        """Delete what is older than KEEP_SECONDS, and all files but the newest; how many of the other jobs run."""
        jobs: dict[str, Job] = {}
        for path in self._directory.glob("*.json"):
            job = self.look(path.stem)
            if job is None or self._clock() - job.beat > KEEP_SECONDS:
                path.unlink(missing_ok=True)
            else:
                jobs[job.id] = job
        running = {job.id for job in jobs.values() if job.state == RUNNING}
        made = sorted((job.beat, job.id) for job in jobs.values() if job.state == DONE)[::-1]
        newest = [job_id for _, job_id in made if self._path(job_id, MADE).exists()][: MOST_FILES - 1]
        for path in self._directory.glob(f"*{MADE}"):
            if path.stem not in {*running, *newest}:
                path.unlink(missing_ok=True)
        return len(running)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self._directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _path(self, job_id: str, ending: str = ".json") -> Path:
        return self._directory / f"{job_id}{ending}"

    def _write(self, job: Job) -> None:
        temporary = self._directory / f".{job.id}.tmp"
        temporary.write_text(json.dumps(asdict(job)), encoding="utf-8")
        os.replace(temporary, self._path(job.id))
