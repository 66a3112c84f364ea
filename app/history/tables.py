"""The tables of the index: the log files, what many runs share, and a row per run."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

#: Part of every name: another version makes an index of its own.
SCHEMA = 1

metadata = sa.MetaData()
PREFIX = f"history{SCHEMA}_"

#: The log files and how far each has been read. `origin` tells the directories of several servers apart.
files = sa.Table(
    PREFIX + "files",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("origin", sa.String, nullable=False),
    sa.Column("device", sa.String, nullable=False),
    sa.Column("inode", sa.String, nullable=False),
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("before", sa.String, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("torn", sa.Boolean, nullable=False),
    sa.Column("skipped", sa.Integer, nullable=False),
    sa.Column("runs", sa.Integer, nullable=False),
)

#: What many runs share, kept once, and how many runs that is: filters and counts look here first.
SETUP_FIELDS = (
    "source", "kind", "model", "gpu", "gpu_name", "num_gpus", "layout", "engine", "engine_name", "precision", "note",
    "fits",
)  # fmt: skip
#: Of these, what the text search looks through.
SEARCHED = ("model", "gpu", "gpu_name", "note")
setups = sa.Table(
    PREFIX + "setups",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("digest", sa.String, nullable=False, unique=True),
    sa.Column("runs", sa.Integer, nullable=False),
    sa.Column("words", sa.Text, nullable=False),
    *(sa.Column(name, sa.Text, nullable=False) for name in SETUP_FIELDS if name not in ("num_gpus", "fits")),
    sa.Column("num_gpus", sa.Double),
    sa.Column("fits", sa.Boolean),
)

NUMBERS = (
    "input_tokens", "output_tokens", "concurrency", "used_bytes", "capacity_bytes", "ttft_ms", "tpot_ms",
    "tokens_per_s", "tokens_per_s_per_user", "usd_per_hour",
)  # fmt: skip
#: One row per line of the log. `milliseconds` since 1970; `record` is the run as JSON, where the log may be elsewhere.
runs = sa.Table(
    PREFIX + "runs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("file", sa.Integer, nullable=False),
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("length", sa.Integer, nullable=False),
    sa.Column("run_id", sa.String, nullable=False),
    sa.Column("milliseconds", sa.BigInteger, nullable=False),
    sa.Column("setup", sa.Integer, nullable=False),
    *(sa.Column(name, sa.Double) for name in NUMBERS),
    sa.Column("record", sa.Text),
)
#: Each holds all that a filtered and sorted page needs to find its rows. Made once the log has been read.
INDEXES = (
    sa.Index(PREFIX + "by_id", runs.c.run_id),
    sa.Index(PREFIX + "by_time", runs.c.milliseconds, runs.c.setup),
    sa.Index(PREFIX + "by_setup", runs.c.setup, runs.c.milliseconds),
    *(
        sa.Index(f"{PREFIX}by_{name}", runs.c[name], runs.c.milliseconds, runs.c.setup)
        for name in NUMBERS
        if name != "capacity_bytes"
    ),
)


EPOCH = datetime.fromisoformat("1970-01-01T00:00:00.000Z")


def milliseconds(text: str) -> int:
    """Since 1970, of a time as `run_log` writes it."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def time_text(since_1970: int) -> str:
    moment = EPOCH + timedelta(milliseconds=since_1970)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
