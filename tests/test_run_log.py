"""The log keeps what is appended, by any number of processes, and reads past whatever is not a run."""

import json
import math
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.history.append_only import MAX_LINE_BYTES
from app.history.run_log import CLI_FILE, RUN_ID, WEB_FILE, News, Run, RunLog, new_run, run_id, run_of, utc_text

ROOT = Path(__file__).parent.parent
START = datetime(2026, 11, 23, 8, 15, 30, 250_000, tzinfo=UTC)


def a_run(number: int = 0, source: str = "web", **results: object) -> Run:
    """Runs a second apart; the token makes the id of each its own."""
    return new_run(
        "estimate",
        source,
        {"model": "llama", "number": number},
        {"fits": True, **results},
        now=START + timedelta(seconds=number),
        token=number.to_bytes(6, "big"),
        app_version="1.0",
    )


def write_lines(directory: Path, *lines: bytes, name: str = WEB_FILE) -> None:
    directory.mkdir(exist_ok=True)
    with (directory / name).open("ab") as log:
        log.writelines(line + b"\n" for line in lines)


def line_of(run: Run) -> bytes:
    return json.dumps(run.as_dict()).encode()


@pytest.fixture
def log(tmp_path: Path) -> RunLog:
    return RunLog(tmp_path / "logging")


# The run and its id


def test_a_new_run_says_when_by_whom_and_what() -> None:
    run = a_run(1)
    assert run.as_dict() == {
        "schema": 1,
        "run_id": run.run_id,
        "time": "2026-11-23T08:15:31.250Z",
        "source": "web",
        "kind": "estimate",
        "app_version": "1.0",
        "inputs": {"model": "llama", "number": 1},
        "results": {"fits": True},
    }
    assert RUN_ID.fullmatch(run.run_id)
    assert len(run.run_id) == 20


@given(
    st.lists(st.datetimes(datetime(1971, 1, 1), datetime(2999, 1, 1)), min_size=2),
    st.binary(min_size=6, max_size=6),
)
def test_run_ids_sort_by_time(moments: list[datetime], token: bytes) -> None:
    moments = [moment.replace(tzinfo=UTC, microsecond=moment.microsecond // 1000 * 1000) for moment in moments]
    by_id = sorted(moments, key=lambda moment: run_id(moment, token))
    assert by_id == sorted(moments)


def test_the_token_tells_runs_of_the_same_millisecond_apart() -> None:
    assert run_id(START, b"\0\0\0\0\0\1") != run_id(START, b"\0\0\0\0\0\2")


@pytest.mark.parametrize(
    ("now", "token", "source", "message"),
    [
        (START.replace(tzinfo=None), b"123456", "web", "time zone"),
        (START, b"12345", "web", "5 bytes"),
        (START, b"123456", "telnet", "telnet"),
    ],
    ids=["naive clock", "short token", "unknown source"],
)
def test_a_run_without_a_proper_clock_token_or_source_is_refused(
    now: datetime, token: bytes, source: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        new_run("estimate", source, {}, {}, now=now, token=token)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T08:15:30Z", "2026-11-23T08:15:30.000Z"),
        ("2026-11-23T08:15:30.25+02:00", "2026-11-23T06:15:30.250Z"),
        ("2026-11-23T08:15:30", "2026-11-23T08:15:30.000Z"),
    ],
)
def test_times_are_kept_in_one_form(text: str, expected: str) -> None:
    assert utc_text(text) == expected


# Append, get, read


def test_an_appended_run_is_found_by_its_id(log: RunLog) -> None:
    runs = [a_run(number, source) for number, source in enumerate(("web", "api", "cli", "desktop"))]
    for run in runs:
        log.append(run)
    assert [log.get(run.run_id) for run in runs] == runs


def test_web_and_command_line_keep_files_of_their_own(log: RunLog) -> None:
    for number, source in enumerate(("web", "api", "cli", "desktop")):
        log.append(a_run(number, source))
    by_file = {
        name: [json.loads(line)["source"] for line in (log.directory / name).read_text("utf-8").splitlines()]
        for name in os.listdir(log.directory)
    }
    assert by_file == {"web_app_calculations.log": ["web", "api"], "cli_calculations.log": ["cli", "desktop"]}


def test_the_newest_runs_of_both_files_come_first(log: RunLog) -> None:
    runs = [a_run(number, "cli" if number % 3 else "web") for number in range(10)]
    for run in runs:
        log.append(run)
    assert log.read().runs == runs[::-1]
    assert log.read(newest=4).runs == runs[:-5:-1]
    assert log.read(newest=0).runs == []


def test_the_newest_run_is_that_of_the_newest_time_wherever_it_stands(log: RunLog) -> None:
    """A clock was set back, and somebody has put two files together."""
    runs = [a_run(number) for number in range(6)]
    write_lines(log.directory, *(line_of(runs[number]) for number in (5, 0, 3)))
    write_lines(log.directory, *(line_of(runs[number]) for number in (4, 1, 2)), name=CLI_FILE)
    assert log.read().runs == runs[::-1]
    assert log.read(newest=2).runs == runs[:3:-1]


def test_more_generations_than_files_may_be_open_are_read(log: RunLog) -> None:
    for number in range(1, 120):
        write_lines(log.directory, line_of(a_run(number)), name=f"{WEB_FILE}.{number}")
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, allowed[1]))
    try:
        assert len(log.read().runs) == len(log.find(a_run(number).run_id for number in range(1, 120))) == 119
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, allowed)


def test_without_a_log_there_are_no_runs(log: RunLog) -> None:
    assert log.read().runs == []
    assert log.get("0000000000") is None


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "a b", '"', "x" * 65, "é", "a\n", "\0"])
def test_what_is_not_an_id_finds_nothing(log: RunLog, name: str) -> None:
    log.append(a_run())
    assert log.get(name) is None


def test_an_id_that_only_occurs_inside_another_run_is_not_found(log: RunLog) -> None:
    log.append(a_run(1, note="abc"))
    assert log.get("abc") is None


text = st.text(max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(text, values, max_size=3),
    max_leaves=8,
)
json_objects = st.dictionaries(text, json_values, max_size=4)


@settings(max_examples=60)
@given(inputs=json_objects, results=json_objects, source=st.sampled_from(["web", "api", "cli", "desktop"]))
def test_any_run_survives_the_round_trip(
    tmp_path_factory: pytest.TempPathFactory, inputs: dict, results: dict, source: str
) -> None:
    log = RunLog(tmp_path_factory.mktemp("log"))
    run = new_run("estimate", source, inputs, results, now=START, token=b"123456")
    log.append(run)
    assert log.get(run.run_id) == run
    assert log.read().runs == [run]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_cannot_say_is_never_written(log: RunLog, value: float) -> None:
    log.append(a_run(1))
    with pytest.raises(ValueError, match="JSON"):
        log.append(a_run(2, ttft_ms={"value": value}))
    assert log.read().runs == [a_run(1)]


def test_half_a_character_does_not_stop_a_run_from_being_logged(log: RunLog) -> None:
    log.append(a_run(1, note="\ud800!"))
    assert log.read().runs == [a_run(1, note="?!")]


def test_a_run_longer_than_a_line_may_be_is_refused(log: RunLog) -> None:
    with pytest.raises(OSError, match="1,048,576"):
        log.append(a_run(1, note="x" * MAX_LINE_BYTES))
    assert log.read() == log.read(newest=1)
    log.append(a_run(2, note="x" * (MAX_LINE_BYTES - 1000)))
    assert log.read().skipped == 0
    assert len(log.read().runs) == 1


def test_a_directory_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileExistsError):
        RunLog(tmp_path / "file").append(a_run())


def test_fsync_is_a_setting(tmp_path: Path) -> None:
    log = RunLog(tmp_path, fsync=True)
    log.append(a_run(1))
    assert log.read().runs == [a_run(1)]


# Torn, foreign and lost lines

GOOD = line_of(a_run(1))
NOT_RUNS = {
    "torn": GOOD[: len(GOOD) // 2],
    "text": b"Serving Flask app",
    "invalid UTF-8": GOOD.replace(b"llama", b"\xff\xfe"),
    "another encoding": "{}".encode("utf-16"),
    "a list": b"[1, 2]",
    "a number": b"1e5",
    "nothing known": b"{}",
    "deeply nested": b"[" * 200_000,
    "NaN": GOOD.replace(b"true", b"NaN"),
    "a later schema": GOOD.replace(b'"schema": 1', b'"schema": 2'),
    "a schema that is no number": GOOD.replace(b'"schema": 1', b'"schema": "1"'),
    "a schema that is true": GOOD.replace(b'"schema": 1', b'"schema": true'),
    "inputs that are no object": GOOD.replace(b'"inputs": {', b'"inputs": [], "other": {'),
    "an id that is a path": GOOD.replace(b'"run_id": "', b'"run_id": "../'),
    "an id that is a number": line_of(a_run(1)).replace(b'"run_id": "', b'"run_id": 5, "x": "'),
    "no such day": GOOD.replace(b"2026-11-23", b"2026-02-30"),
    "a time out of range": GOOD.replace(b'"2026-11-23T08:15:31.250Z"', b'"0001-01-01T00:00:00+23:59"'),
    "a time that is a number": GOOD.replace(b'"2026-11-23T08:15:31.250Z"', b"17e8"),
    "a source that is no text": GOOD.replace(b'"web"', b"null"),
    "invalid UTF-8 where nobody looks": GOOD.replace(b"fits", b"\xed\xa0\x80"),
    "longer than a line may be": GOOD.replace(b"llama", b"l" * MAX_LINE_BYTES),
    "much longer than a line may be": b"x" * (3 * MAX_LINE_BYTES),
}


#: What JSON can say and nobody can write again -> how it is read.
MENDED = {
    "infinity by overflow": (GOOD.replace(b"true", b"1e999"), {"fits": None}),
    "the same below": (GOOD.replace(b"true", b'{"low": [-1E400]}'), {"fits": {"low": [None]}}),
    "a very long number": (GOOD.replace(b"true", b"9" * 5000), {"fits": None}),
    "half a character": (GOOD.replace(b"true", b'"\\ud800!"'), {"fits": "?!"}),
    "half a character in a name": (GOOD.replace(b"fits", b"\\uDFFF"), {"?": True}),
    "a character in two halves": (GOOD.replace(b"true", b'"\\ud83d\\ude00"'), {"fits": "\U0001f600"}),
}


@pytest.mark.parametrize(("line", "results"), MENDED.values(), ids=MENDED)
def test_what_cannot_be_written_again_is_mended(log: RunLog, line: bytes, results: dict) -> None:
    write_lines(log.directory, line)
    [run] = log.read().runs
    assert run.results == results
    log.append(run)
    assert log.read().runs == [run, run]


@pytest.mark.parametrize("line", NOT_RUNS.values(), ids=NOT_RUNS)
def test_a_line_that_is_no_run_is_skipped_and_counted(log: RunLog, line: bytes) -> None:
    log.append(a_run(0))
    write_lines(log.directory, line)
    log.append(a_run(2))
    reading = log.read()
    assert reading.runs == [a_run(2), a_run(0)]
    assert reading.skipped == 1
    assert log.get(a_run(0).run_id) == a_run(0)
    if len(line) < 5000:
        assert log.get(a_run(1).run_id) is None


@settings(max_examples=60)
@given(
    garbage=st.lists(st.binary(max_size=80).map(lambda line: line.replace(b"\n", b"")), max_size=5),
    torn=st.binary(max_size=40),
)
def test_no_garbage_hides_a_run(tmp_path_factory: pytest.TempPathFactory, garbage: list[bytes], torn: bytes) -> None:
    log = RunLog(tmp_path_factory.mktemp("log"))
    log.append(a_run(1))
    write_lines(log.directory, *garbage)
    with (log.directory / WEB_FILE).open("ab") as file:
        file.write(torn)
    log.append(a_run(2))
    assert log.read().runs == [a_run(2), a_run(1)]


def test_blank_lines_are_nothing(log: RunLog) -> None:
    write_lines(log.directory, b"", GOOD, b"", b"  ")
    assert log.read().runs == [a_run(1)]
    assert log.read().skipped == 0


def test_the_line_of_a_crashed_writer_does_not_spoil_the_next(log: RunLog) -> None:
    log.append(a_run(1))
    with (log.directory / WEB_FILE).open("ab") as file:
        file.write(line_of(a_run(2))[:100])
    assert log.read().skipped == 1
    log.append(a_run(3))
    assert log.read().runs == [a_run(3), a_run(1)]
    assert log.read().skipped == 1


def test_a_run_without_its_newline_counts(log: RunLog) -> None:
    log.directory.mkdir()
    (log.directory / WEB_FILE).write_bytes(line_of(a_run(1)))
    assert log.read().runs == [a_run(1)]
    log.append(a_run(2))
    assert log.read().runs == [a_run(2), a_run(1)]
    assert log.read().skipped == 0


def test_lines_longer_than_a_block_are_read_whole(log: RunLog) -> None:
    runs = [a_run(number, note="x" * size) for number, size in enumerate((10, 262_144, 700_000, 1, 262_100, 5))]
    for run in runs:
        log.append(run)
    assert log.read().runs == runs[::-1]


def test_an_older_record_is_upgraded() -> None:
    old = {
        "run_id": "2024-run_7",
        "time": "2024-05-01T10:00:00+02:00",
        "inputs": {"model": "m"},
        "results": {},
    }
    assert Run.from_dict(old) == Run(
        run_id="2024-run_7",
        time="2024-05-01T08:00:00.000Z",
        source="web",
        kind="estimate",
        app_version="",
        inputs={"model": "m"},
        results={},
    )


def test_unknown_keys_of_a_record_are_ignored() -> None:
    assert Run.from_dict({**a_run(1).as_dict(), "tag": "x"}) == a_run(1)


def test_a_deleted_log_begins_again(log: RunLog) -> None:
    log.append(a_run(1))
    (log.directory / WEB_FILE).unlink()
    assert log.read().runs == []
    log.append(a_run(2))
    assert log.read().runs == [a_run(2)]


# Several processes at once

APPEND_MANY = """
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from app.history.run_log import RunLog, new_run
writer, count = int(sys.argv[2]), int(sys.argv[3])
log = RunLog(Path(sys.argv[1]))
for number in range(count):
    token = (writer * count + number).to_bytes(6, "big")
    inputs = {"pad": "x" * (number * 7 % 5000)}
    log.append(new_run("estimate", "web", inputs, {}, now=datetime.now(UTC), token=token))
"""


def python(code: str, *arguments: object) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, stderr=subprocess.PIPE)


def test_four_processes_append_at_once_and_lose_nothing(log: RunLog) -> None:
    writers = [python(APPEND_MANY, log.directory, writer, 500) for writer in range(4)]
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert writer.returncode == 0, errors
    reading = log.read()
    assert len({run.run_id for run in reading.runs}) == len(reading.runs) == 2000
    assert reading.skipped == 0


APPEND_WITHIN_A_LIMIT = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from app.history.run_log import RunLog, new_run
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
run = new_run("estimate", "web", {"pad": "x" * 1000}, {}, now=datetime.now(UTC), token=b"123456")
try:
    RunLog(Path(sys.argv[1])).append(run)
except OSError:
    sys.exit(7)
"""


def test_a_write_cut_short_is_an_error_and_spoils_no_other_line(log: RunLog) -> None:
    log.append(a_run(1))
    size = (log.directory / WEB_FILE).stat().st_size
    writer = python(APPEND_WITHIN_A_LIMIT, log.directory, size + 300)
    _, errors = writer.communicate(timeout=60)
    assert writer.returncode == 7, errors
    assert (log.directory / WEB_FILE).stat().st_size == size
    log.append(a_run(2))
    assert log.read().runs == [a_run(2), a_run(1)]
    assert log.read().skipped == 0


# Following a file


def numbered(line: bytes) -> int | None:
    run = run_of(line)
    return None if run is None else run.inputs["number"]


def numbers(news: News[int] | None) -> list[int]:
    assert news is not None
    return [item for _, _, item in news.items]


def test_only_what_was_appended_since_is_read(log: RunLog) -> None:
    log.append(a_run(1))
    first = log.follow(WEB_FILE, None, numbered)
    assert (numbers(first), first.restarted, first.behind) == ([1], False, 0)
    assert numbers(log.follow(WEB_FILE, first.mark, numbered)) == []
    log.append(a_run(2))
    log.append(a_run(3))
    second = log.follow(WEB_FILE, first.mark, numbered)
    assert (numbers(second), second.restarted) == ([2, 3], False)


def test_each_item_tells_where_its_line_is(log: RunLog) -> None:
    write_lines(log.directory, b"foreign")
    runs = [a_run(number, note="x" * number * 100_000) for number in range(8)]
    for run in runs:
        log.append(run)
    [file] = log.files()
    news = log.follow(WEB_FILE, None, numbered)
    assert [run_of(log.line_at(file, offset, length)) for offset, length, _ in news.items] == runs
    (log.directory / WEB_FILE).rename(log.directory / "elsewhere")
    log.append(a_run(9))
    assert log.line_at(file, 0, 10) is None


def test_a_long_file_is_read_in_parts(log: RunLog) -> None:
    for number in range(6):
        log.append(a_run(number))
    mark, parts = None, []
    while (news := log.follow(WEB_FILE, mark, numbered, max_bytes=300)).items:
        parts.append(numbers(news))
        mark = news.mark
    assert parts == [[0, 1], [2, 3], [4, 5]]
    assert news.behind == 0


def test_a_line_still_being_written_is_read_when_it_is_whole(log: RunLog) -> None:
    log.append(a_run(1))
    whole = line_of(a_run(2)) + b"\n"
    with (log.directory / WEB_FILE).open("ab", buffering=0) as file:
        file.write(whole[:50])
        news = log.follow(WEB_FILE, None, numbered)
        assert (numbers(news), news.torn, news.skipped) == ([1], True, 0)
        file.write(whole[50:])
    later = log.follow(WEB_FILE, news.mark, numbered)
    assert (numbers(later), later.torn, later.skipped) == ([2], False, 0)


def test_a_run_that_lacks_only_its_newline_is_read_once(log: RunLog) -> None:
    log.directory.mkdir()
    (log.directory / WEB_FILE).write_bytes(line_of(a_run(1)))
    news = log.follow(WEB_FILE, None, numbered)
    log.append(a_run(2))
    later = log.follow(WEB_FILE, news.mark, numbered)
    assert (numbers(news), numbers(later), later.skipped) == ([1], [2], 0)


def test_a_torn_line_is_counted_once_another_follows(log: RunLog) -> None:
    write_lines(log.directory, GOOD, b"foreign")
    with (log.directory / WEB_FILE).open("ab") as file:
        file.write(b"torn")
    news = log.follow(WEB_FILE, None, numbered)
    assert (numbers(news), news.skipped, news.torn) == ([1], 1, True)
    log.append(a_run(2))
    later = log.follow(WEB_FILE, news.mark, numbered)
    assert (numbers(later), later.skipped, later.torn) == ([2], 1, False)


@pytest.mark.parametrize("length", [MAX_LINE_BYTES + 10, 100_000_000], ids=["1 MB", "100 MB"])
def test_a_tail_longer_than_a_line_may_be_waits_for_its_end(log: RunLog, length: int) -> None:
    write_lines(log.directory, GOOD)
    with (log.directory / WEB_FILE).open("ab") as file:
        file.write(b"x" * length)
    news = log.follow(WEB_FILE, None, numbered)
    assert (numbers(news), news.torn) == ([1], True)
    log.append(a_run(2))
    later = log.follow(WEB_FILE, news.mark, numbered)
    assert (numbers(later), later.skipped) == ([2], 1)


@pytest.mark.parametrize("change", ["replaced", "cut", "rewritten"])
def test_another_file_in_its_place_is_read_from_the_start(log: RunLog, change: str) -> None:
    for number in range(3):
        log.append(a_run(number))
    mark = log.follow(WEB_FILE, None, numbered).mark
    path = log.directory / WEB_FILE
    if change == "replaced":
        path.rename(log.directory / "old.log")
    else:
        os.truncate(path, 0)
    for number in range(10, 10 + {"replaced": 3, "cut": 1, "rewritten": 5}[change]):
        log.append(a_run(number))
    news = log.follow(WEB_FILE, mark, numbered)
    assert news.restarted
    assert numbers(news)[0] == 10


def test_a_file_that_is_gone_has_no_news(log: RunLog) -> None:
    assert log.follow(WEB_FILE, None, numbered) is None


def test_other_time_zones_are_logged_as_utc() -> None:
    east = timezone(timedelta(hours=9))
    run = new_run("estimate", "cli", {}, {}, now=START.astimezone(east), token=b"123456")
    assert run.time == "2026-11-23T08:15:30.250Z"


def test_the_command_line_file_is_followed_alike(log: RunLog) -> None:
    log.append(a_run(1, "desktop"))
    assert numbers(log.follow(CLI_FILE, None, numbered)) == [1]
    assert log.follow(WEB_FILE, None, numbered) is None


# Rotation


def test_a_file_that_would_grow_beyond_its_limit_is_put_aside_and_stays_readable(tmp_path: Path) -> None:
    log = RunLog(tmp_path, max_bytes=500)
    runs = [a_run(number, source) for number in range(9) for source in ("web", "cli")]
    for run in runs:
        log.append(run)
    assert {f"{WEB_FILE}.1", f"{CLI_FILE}.2", WEB_FILE, CLI_FILE} < set(os.listdir(tmp_path))
    assert all(file.size <= 500 for file in log.files())
    by_time = sorted(log.read().runs, key=lambda run: (run.time, run.source))
    assert by_time == sorted(runs, key=lambda run: (run.time, run.source))
    assert [log.get(run.run_id) is not None for run in runs] == [True] * 18


@pytest.mark.parametrize("name", [WEB_FILE + ".1", WEB_FILE + "-20261127", CLI_FILE + ".12"])
def test_what_another_tool_has_rotated_is_read_too(log: RunLog, name: str) -> None:
    write_lines(log.directory, GOOD, name=name)
    log.append(a_run(2))
    assert log.read().runs == [a_run(2), a_run(1)]
    assert log.get(a_run(1).run_id) == a_run(1)


@pytest.mark.parametrize("name", ["notes.log", WEB_FILE + ".gz", WEB_FILE + ".1.bak", "x" + WEB_FILE])
def test_other_files_of_the_directory_are_none_of_the_log(log: RunLog, name: str) -> None:
    write_lines(log.directory, GOOD, name=name)
    assert log.files() == []


ROTATE_MANY = APPEND_MANY.replace("RunLog(Path(sys.argv[1]))", "RunLog(Path(sys.argv[1]), max_bytes=100_000)")


def test_processes_that_rotate_at_once_lose_nothing(log: RunLog) -> None:
    writers = [python(ROTATE_MANY, log.directory, writer, 200) for writer in range(4)]
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert writer.returncode == 0, errors
    assert len(log.files()) > 5
    assert len({run.run_id for run in log.read().runs}) == 800


# A disk that fails


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a file system cannot be mounted here")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_refuses_a_run_and_keeps_those_before(small_disk: Path) -> None:
    log = RunLog(small_disk)
    kept = []

    def fill() -> None:
        for number in range(100):
            log.append(a_run(number, pad="x" * 3000))
            kept.append(a_run(number, pad="x" * 3000))

    with pytest.raises(OSError, match="No space left"):
        fill()
    assert 15 < len(kept) < 25
    reading = log.read()
    assert (reading.runs, reading.skipped) == (kept[::-1], 0)


def test_a_read_only_disk_refuses_a_run_and_is_read(small_disk: Path) -> None:
    log = RunLog(small_disk)
    log.append(a_run(1))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(OSError, match="Read-only"):
        log.append(a_run(2))
    assert log.read().runs == [a_run(1)]
