"""A note: the tags and the text that somebody gave to a run, as they are typed and as they are kept."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from app.calculations.errors import InvalidInput
from app.history.run_log import RUN_ID, utc_text

MAX_NOTE, MAX_TAG, MAX_TAGS = 500, 32, 8
TAG = re.compile(r"[\w.:/+-]+(?: [\w.:/+-]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What stands beside a run. `time` is UTC as in the log of runs; no tags and no text: taken back."""

    run_id: str
    time: str
    tags: tuple[str, ...] = ()
    text: str = ""

    @property
    def words(self) -> str:
        """What a search looks in."""
        return f"{' '.join(self.tags)} {self.text}".lower()


def note_of(run_id: str, time: str, *, tags: str, text: str) -> Note:
    """The note of what was typed: tags separated by commas. Raises InvalidInput."""
    found = tuple(dict.fromkeys(one for tag in tags.split(",") if (one := " ".join(tag.split()))))
    if len(found) > MAX_TAGS:
        raise InvalidInput("tags", f"Tags: {len(found)} are given.", f"up to {MAX_TAGS}")
    for tag in found:
        if len(tag) > MAX_TAG or not TAG.fullmatch(tag):
            allowed = f"up to {MAX_TAG} letters, digits and . : / + - _ with single spaces, separated by commas"
            raise InvalidInput("tags", f"Tags: {tag[:60]!r} cannot be a tag.", allowed)
    text = text.replace("\r\n", "\n").strip()
    if len(text) > MAX_NOTE:
        raise InvalidInput("note", f"Note: it has {len(text):,} characters.", f"up to {MAX_NOTE}")
    return Note(run_id=run_id, time=time, tags=found, text=text)


def read(line: bytes) -> Note | None:
    """The note of a line; None for a line that is torn or foreign."""
    try:
        record = json.loads(line.decode("utf-8"))
        run_id, time, tags, text = (record[name] for name in ("run_id", "time", "tags", "text"))
        time = utc_text(time)  # Notes are put in order by it.
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    texts = isinstance(tags, list) and all(isinstance(one, str) for one in (run_id, time, text, *tags))
    if not texts or not RUN_ID.fullmatch(run_id):
        return None
    return Note(run_id=run_id, time=time, tags=tuple(tags), text=text)
