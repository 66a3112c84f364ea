"""A real server under force: workers that are killed lose nothing acknowledged, hostile bytes make no 5xx."""

from __future__ import annotations

from pathlib import Path

from benchmarks.crash import crash
from benchmarks.hostile import hostile, is_good


def test_no_acknowledged_run_is_lost_when_workers_are_killed(tmp_path: Path) -> None:
    outcome = crash(tmp_path, clients=4, runs=60, pause_seconds=0.5, least_killed=3)
    assert outcome.acknowledged >= 240
    assert outcome.killed >= 3
    assert (outcome.lost, outcome.twice) == (0, 0)
    assert outcome.broken <= outcome.killed
    # A killed worker may have written a run that it could not acknowledge any more, never the other way round.
    assert outcome.acknowledged <= outcome.logged <= outcome.acknowledged + outcome.unanswered


def test_hostile_bytes_are_refused_and_the_server_lives_on(tmp_path: Path) -> None:
    found = hostile(tmp_path, 150)
    assert is_good(found), found
    assert "Traceback" not in (tmp_path / "gunicorn.txt").read_text()
