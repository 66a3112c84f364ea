"""The key that signs cookies: made once, kept where only its owner reads it, and the same in every process."""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path

FILE = "secret_key"
#: Hexadecimal digits of a key: 256 bits.
DIGITS = 64

logger = logging.getLogger(__name__)


def secret_key(directory: Path) -> str:
    """The key of this directory, made if it has none.

    Of several processes that start at once, one makes it: the name is given to a file that is complete, and only
    where no other has it. In a directory that cannot be written to the key lasts as long as the process, and the
    workers that are forked from it.
    """
    path = Path(directory) / FILE
    try:
        return _kept(path) or _made(path)
    except OSError as error:
        logger.warning("%s cannot be kept: %s. Logins end with this process.", path, error.strerror)
        return secrets.token_hex(DIGITS // 2)


def _kept(path: Path) -> str | None:
    """The key that the file holds; None where there is no file, or none that holds a key."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    return text if len(text) >= DIGITS else None


def _made(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    own = path.with_name(f"{FILE}.{secrets.token_hex(8)}")
    handle = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.write(handle, secrets.token_hex(DIGITS // 2).encode("ascii") + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
        try:
            os.link(own, path)
        except FileExistsError:
            if _kept(path) is None:  # What is there is no key, as after a full disk.
                own.replace(path)
    finally:
        own.unlink(missing_ok=True)
    key = _kept(path)
    if key is None:
        raise OSError(5, "what was written is not there", str(path))
    return key
