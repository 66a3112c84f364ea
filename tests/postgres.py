"""A PostgreSQL of the tests' own: made, started, stopped and thrown away."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.serving import free_port

#: Where Debian puts the server's programs, which are not on everybody's PATH.
DEBIAN = Path("/usr/lib/postgresql")
QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "unix_socket_directories=")


def programs() -> Path | None:
    """The directory of initdb and pg_ctl; None where PostgreSQL is not installed."""
    newest = sorted(DEBIAN.glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]), reverse=True)
    found = newest[0] if newest else shutil.which("pg_ctl")
    return Path(found).parent if found else None


@dataclass(frozen=True)
class Postgres:
    """A running server with one user, who needs no password."""

    bin: Path
    directory: Path
    port: int
    user: str

    def url(self, database: str) -> str:
        """As DATABASE_URL takes it."""
        return f"postgresql://calculator@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        """A new database; its address."""
        self.run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "calculator", database)
        return self.url(database)

    def start(self) -> None:
        options = " ".join(f"-c {one}" for one in (*QUICK, f"port={self.port}", "listen_addresses=127.0.0.1"))
        log = str(self.directory / "log")
        self.run("pg_ctl", "-D", str(self.directory / "data"), "-l", log, "-o", options, "-w", "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-D", str(self.directory / "data"), "-m", "immediate", "-w", "stop")

    def run(self, program: str, *arguments: str) -> None:
        """One of its programs; root's right to everything is something that PostgreSQL refuses to run with."""
        done = subprocess.run(
            [self.bin / program, *arguments],
            cwd=self.directory,
            user=self.user if os.getuid() == 0 else None,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{program} ended with {done.returncode}: {done.stderr}")


@contextmanager
def postgres() -> Iterator[Postgres]:
    """The server, for as long as the block takes."""
    found = programs()
    if found is None:
        raise RuntimeError("PostgreSQL is not installed")
    with tempfile.TemporaryDirectory(prefix="postgres-") as directory:
        user = "nobody" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        if os.getuid() == 0:
            shutil.chown(directory, user)
        server = Postgres(found, Path(directory), free_port(), user)
        server.run(
            "initdb", "-D", str(server.directory / "data"), "-U", "calculator", "-A", "trust", "-N", "-E", "UTF8"
        )
        server.start()
        try:
            yield server
        finally:
            server.stop()
