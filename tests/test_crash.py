"""A server whose workers are killed loses nothing that it has acknowledged."""

from __future__ import annotations

from pathlib import Path

from benchmarks.crash import crash


def test_no_acknowledged_run_is_lost_when_workers_are_killed(tmp_path: Path) -> None:
    outcome = crash(tmp_path, clients=4, runs=60, pause_seconds=0.5)
    assert outcome.acknowledged == 240
    assert outcome.killed >= 3
    assert (outcome.lost, outcome.twice) == (0, 0)
    assert outcome.broken <= outcome.killed
    # A killed worker may have written a run that it could not acknowledge any more, never the other way round.
    assert outcome.acknowledged <= outcome.logged <= outcome.acknowledged + outcome.unanswered
