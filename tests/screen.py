"""A virtual screen of the tests' own, and what stands on it pixel by pixel."""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

#: What X11's XWDFile.h calls header_size, pixmap_width, pixmap_height, bytes_per_line and ncolors.
HEADER_SIZE, WIDTH, HEIGHT, BYTES_PER_LINE, COLOURS = 0, 4, 5, 12, 19
COLOUR_BYTES = 12


@dataclass(frozen=True)
class Picture:
    """A screenshot: rows of three bytes a pixel."""

    width: int
    height: int
    rows: tuple[bytes, ...]

    def count(self, colour: str) -> int:
        """How many pixels have exactly this colour, as #rrggbb."""
        wanted = np.frombuffer(bytes.fromhex(colour.removeprefix("#")), np.uint8)
        pixels = np.frombuffer(b"".join(self.rows), np.uint8).reshape(-1, 3)
        return int((pixels == wanted).all(axis=1).sum())

    def png(self) -> bytes:
        def chunk(name: bytes, data: bytes) -> bytes:
            return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

        head = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        body = zlib.compress(b"".join(b"\0" + row for row in self.rows), 6)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@dataclass(frozen=True)
class Screen:
    """An X server: its DISPLAY and the file in which it keeps the picture."""

    display: str
    file: Path

    def picture(self) -> Picture:
        with self.file.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
            header = struct.unpack(">25I", whole[:100])
            start = header[HEADER_SIZE] + header[COLOURS] * COLOUR_BYTES
            line = header[BYTES_PER_LINE]
            rows = []
            for y in range(header[HEIGHT]):
                row = whole[start + y * line : start + y * line + 4 * header[WIDTH]]
                pixels = bytearray(3 * header[WIDTH])
                pixels[0::3], pixels[1::3], pixels[2::3] = (
                    row[2::4],
                    row[1::4],
                    row[0::4],
                )  # Stored as blue, green, red.
                rows.append(bytes(pixels))
            return Picture(header[WIDTH], header[HEIGHT], tuple(rows))


def is_there() -> bool:
    return shutil.which("Xvfb") is not None


@contextmanager
def virtual_screen(directory: Path, *, size: str = "1440x1000", dpi: int = 96) -> Iterator[Screen]:
    """An Xvfb on a free display, as long as it is needed."""
    readable, writable = os.pipe()
    command = ["Xvfb", "-displayfd", str(writable), "-screen", "0", f"{size}x24", "-dpi", str(dpi)]
    command += ["-fbdir", str(directory), "-nolisten", "tcp", "-noreset"]
    server = subprocess.Popen(command, pass_fds=[writable], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(writable)
    try:
        with os.fdopen(readable) as answer:
            number = answer.readline().strip()
        if not number:
            raise RuntimeError(f"Xvfb ended with {server.wait(timeout=10)}")
        yield Screen(f":{number}", directory / "Xvfb_screen0")
    finally:
        server.terminate()
        server.wait(timeout=20)
