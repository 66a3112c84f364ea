"""JSON in and out, strictly: no NaN, no infinity, no repeated name, no surprise from a hostile body."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

#: Python refuses to convert longer digit strings; shorter ones are already far beyond every limit.
MAX_DIGITS = 400
#: No input, configuration or result comes near it; the interpreter's own limit is met at any depth of calls.
MAX_DEPTH = 50
TOO_DEEP = f"The JSON is nested more than {MAX_DEPTH} levels deep."


class NotJson(ValueError):
    """A text that is not the JSON object that was asked for; the message says why."""


def read_object(data: bytes) -> dict[str, Any]:
    """The JSON object that `data` is. Raises NotJson.

    NaN and what is too large for a float are kept as numbers, so that the value is refused by its name.
    """
    try:
        document = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_unique, parse_int=_integer)
    except UnicodeDecodeError as error:
        raise NotJson(f"The text is not UTF-8: byte {error.start} is wrong.") from None
    except json.JSONDecodeError as error:
        raise NotJson(f"The text is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from None
    except RecursionError:
        raise NotJson(TOO_DEEP) from None
    if not isinstance(document, dict):
        raise NotJson("The JSON is not an object: it must begin with {.")
    _check_depth(document, MAX_DEPTH)
    return document


def read_document(data: bytes) -> dict[str, Any]:
    """The JSON object that `data` is, if every text in it can be shown and written again. Raises NotJson."""
    document = read_object(data)
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise NotJson("The text holds half of a character, as \\ud800 without its other half.") from None
    return document


def write(document: object, indent: int | None = None) -> str:
    """The JSON text of a document, in ASCII, as `finite` makes it."""
    return json.dumps(finite(document), allow_nan=False, indent=indent)


def finite(document: Any, levels: int = MAX_DEPTH) -> Any:
    """The same document with None in place of NaN and infinities, which JSON has no words for, and with a remark in
    place of what is nested too deep to be written: a line of a log may be."""
    if isinstance(document, dict | list | tuple) and not levels:
        return TOO_DEEP
    if isinstance(document, dict):
        return {name: finite(value, levels - 1) for name, value in document.items()}
    if isinstance(document, list | tuple):
        return [finite(value, levels - 1) for value in document]
    if isinstance(document, float) and not math.isfinite(document):
        return None
    return document


def _check_depth(document: Any, levels: int) -> None:
    if isinstance(document, dict | list):
        if not levels:
            raise NotJson(TOO_DEEP)
        for value in document.values() if isinstance(document, dict) else document:
            _check_depth(value, levels - 1)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise NotJson(f"The name {twice[:60]!r} stands twice in one object.")
    return names


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_DIGITS else math.copysign(math.inf, -1 if digits[0] == "-" else 1)
