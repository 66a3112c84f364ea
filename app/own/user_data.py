"""What users define themselves, kept in files under DATA_DIR: models/, gpus/, prices/ and calibrations/<slug>.json.

The only file that knows the format: one JSON object per file, {"schema", "name", "source", "notes", "saved"} and the
model's "config" (its config.json), the accelerator's "inputs" (those of a custom accelerator), the "price" of an
accelerator, or the calibration's "fit" (deviations and what was measured). Files are checked strictly when they are
read: one that is wrong is left out and reported, never fatal. They are written whole, under another name first, so that
several processes can save and read at once. What has changed on the disk is seen at the next look: each look compares
names, sizes and times of the directory's files with those of the last.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from app import json_text
from app.calculations.accelerator import Gpu
from app.calculations.architecture import Model
from app.calculations.coefficients import NAMES, Efficiency
from app.calculations.errors import InvalidInput
from app.calculations.huggingface import read_config
from app.calculations.uncertainty import Measured
from app.own.by_hand import GPU_INPUTS, custom_gpu

SCHEMA = 1
#: Of a configuration, and of what stands beside it in a file.
LARGEST_BYTES = 10_000_000
MOST_EXTRA = 100_000
MOST_SOURCE = 1000
#: Entries of one kind; more are not saved.
MOST = 500

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]*(/[A-Za-z0-9][A-Za-z0-9 ._+-]*)?")
MOST_LETTERS = 100
NAME_ALLOWED = (
    f"letters, digits, spaces and . _ + -, at most one slash in a model's name, up to {MOST_LETTERS} characters, "
    "beginning with a letter or digit"
)
#: Names that addresses and inputs use for something else.
RESERVED = frozenset({"custom", "import", "save", "delete", "export", "published"})
#: Kind of what is saved -> the key of a file that holds its content.
CONTENT = {"models": "config", "gpus": "inputs", "calibrations": "fit", "prices": "price"}

_FILE_NAME = re.compile(r"[a-z0-9][a-z0-9._+-]*\.json")
_KEYS = {"schema", "name", "source", "notes", "saved"}
_MOST_NOTES = 20
#: ln of a factor that no level reaches.
MOST_DEVIATION = 10.0


class BadFile(ValueError):
    """A file that does not hold what it must; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnModel:
    """A model that a user has saved."""

    name: str
    source: str
    #: When it was saved, RFC 3339, UTC.
    saved: str
    config: Mapping[str, Any]
    model: Model

    @property
    def document(self) -> Mapping[str, Any]:
        """What is exported: the config.json, readable by everything that reads one."""
        return self.config


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnGpu:
    """An accelerator that a user has saved."""

    name: str
    source: str
    saved: str
    inputs: Mapping[str, Any]
    gpu: Gpu

    @property
    def document(self) -> Mapping[str, Any]:
        """What is exported: the inputs of a custom accelerator."""
        return self.inputs


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCalibration:
    """Coefficients that a user has fitted to measurements of their own."""

    name: str
    source: str
    saved: str
    fit: Mapping[str, Any]
    efficiency: Efficiency
    measured: Measured

    @property
    def document(self) -> Mapping[str, Any]:
        return self.fit


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPrice:
    """What a user pays for an accelerator, in a region or, where that is empty, in any."""

    name: str
    source: str
    saved: str
    usd_per_gpu_hour: float
    region: str = ""

    @property
    def document(self) -> Mapping[str, Any]:
        return {"usd_per_gpu_hour": self.usd_per_gpu_hour} | ({"region": self.region} if self.region else {})


Entry = TypeVar("Entry", OwnModel, OwnGpu, OwnCalibration, OwnPrice)
#: Highest price that can be saved, USD per GPU and hour.
MOST_USD = 100_000.0


def checked_name(text: object, *, slash: bool) -> str:
    """A name that can be saved under, without spaces around it. Raises InvalidInput."""
    name = text.strip() if isinstance(text, str) else ""
    if not name:
        raise InvalidInput("name", "There is no name to save under.", NAME_ALLOWED)
    shown = repr(name if len(name) <= 60 else name[:57] + "...")
    fits = NAME.fullmatch(name) and len(name) <= MOST_LETTERS and ".." not in name and not name.endswith((".", " "))
    if not fits or ("/" in name and not slash) or " /" in name:
        raise InvalidInput("name", f"The name {shown} cannot be used.", NAME_ALLOWED)
    if name.lower() in RESERVED:
        raise InvalidInput("name", f"The name {shown} means something else here.", "another name")
    return name


def slug(name: str) -> str:
    """The name as a file's name and, of an accelerator, in an address. Names that differ by case alone are one."""
    return name.lower().replace("/", "__").replace(" ", "-")


def checked_inputs(raw: object) -> dict[str, Any]:
    """The typed inputs of a custom accelerator, every one of them. Raises InvalidInput."""
    if not isinstance(raw, Mapping):
        raise InvalidInput("inputs", "The inputs are not an object.", "an object of inputs")
    unknown = next((key for key in raw if key not in GPU_INPUTS), None)
    if unknown is not None:
        message = f"{str(unknown)[:60]!r} is not an input of an accelerator."
        raise InvalidInput(str(unknown)[:60], message, ", ".join(GPU_INPUTS))
    return {name: one.parse(raw.get(name)) for name, one in GPU_INPUTS.items()}


def _read_model(document: Mapping[str, Any]) -> OwnModel:
    config = document["config"]
    if not isinstance(config, dict):
        raise BadFile("config is not an object")
    name = checked_name(document["name"], slash=True)
    model = read_config(config, name=name, source=document["source"])
    model = dataclasses.replace(model, warnings=(*model.warnings, *document["notes"]))
    return OwnModel(
        name=name,
        source=document["source"],
        saved=document["saved"],
        config=MappingProxyType(config),
        model=model,
    )


def _read_gpu(document: Mapping[str, Any]) -> OwnGpu:
    name = checked_name(document["name"], slash=False)
    inputs = checked_inputs(document["inputs"])
    gpu = custom_gpu(inputs, slug=slug(name), name=name, source=document["source"])
    return OwnGpu(
        name=name, source=document["source"], saved=document["saved"], inputs=MappingProxyType(inputs), gpu=gpu
    )


def _read_calibration(document: Mapping[str, Any]) -> OwnCalibration:
    found = document["fit"]
    try:
        deviations: dict[tuple[str, str], dict[str, float]] = {}
        for level, key, coefficient, deviation in found["deviations"]:
            if coefficient not in NAMES or not abs(float(deviation)) < MOST_DEVIATION:
                raise BadFile(f"{coefficient!r} of {level} {key} is no coefficient, or its deviation too large")
            deviations.setdefault((str(level), str(key)), {})[coefficient] = float(deviation)
        triples = frozenset((str(engine), str(gpu), str(model)) for engine, gpu, model in found["measured"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadFile(f"fit is not that of a calibration: {error}") from None
    name = checked_name(document["name"], slash=False)
    return OwnCalibration(
        name=name,
        source=document["source"],
        saved=document["saved"],
        fit=MappingProxyType(found),
        efficiency=Efficiency(deviations=deviations, name=name),
        measured=Measured(triples=triples),
    )


def checked_price(value: object) -> float:
    """A price in USD per GPU and hour. Raises InvalidInput."""
    try:
        price = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        price = -1.0
    if isinstance(value, bool) or not 0 <= price <= MOST_USD:
        shown = str(value)[:40]
        raise InvalidInput(
            "price", f"Price: {shown!r} is no price.", f"USD per GPU and hour, from 0 to {MOST_USD:,.0f}"
        )
    return price


def price_name(gpu: str, region: str) -> str:
    """The name that the price of an accelerator is saved under."""
    return f"{gpu} in {region}" if region else gpu


def _read_price(document: Mapping[str, Any]) -> OwnPrice:
    content = document["price"]
    if not isinstance(content, dict) or set(content) - {"region"} != {"usd_per_gpu_hour"}:
        raise BadFile("price is not that of an accelerator")
    name, region = checked_name(document["name"], slash=False), content.get("region", "")
    if not isinstance(region, str) or not name.endswith(price_name("", region)):
        raise BadFile("region is not that of the name")
    return OwnPrice(
        name=name,
        region=region,
        source=document["source"],
        saved=document["saved"],
        usd_per_gpu_hour=checked_price(content["usd_per_gpu_hour"]),
    )


@dataclass(frozen=True)
class _Read(Generic[Entry]):
    """A file as it was when it was read: what it holds, or why it cannot be used."""

    signature: tuple[int, int, int]
    entry: Entry | None
    problem: str


class Shelf(Generic[Entry]):
    """The entries of one kind: a directory of files."""

    def __init__(self, directory: Path | None, key: str, read: Callable[[Mapping[str, Any]], Entry]) -> None:
        self.directory = directory
        self._key = key
        self._entry_of: Callable[[Mapping[str, Any]], Entry] = read
        self._files: dict[str, _Read[Entry]] = {}
        self._trouble = ""
        self._lock = threading.Lock()

    def entries(self) -> Mapping[str, Entry]:
        """What can be used, by name, in alphabetical order."""
        found = (read.entry for read in self._look().values() if read.entry is not None)
        return {one.name: one for one in sorted(found, key=lambda one: one.name.lower())}

    def get(self, name: str) -> Entry | None:
        """The entry of this name, whatever its case."""
        read = self._look().get(f"{slug(name.strip())}.json")
        return read.entry if read else None

    def problems(self) -> list[str]:
        """What was left out and why."""
        found = [f"{self._key}/{name}: {read.problem}" for name, read in self._look().items() if read.problem]
        return ([self._trouble] if self._trouble else []) + sorted(found)

    def save(
        self,
        name: str,
        source: str,
        content: Mapping[str, Any],
        *,
        notes: Sequence[str] = (),
        now: datetime,
        replace: bool,
    ) -> Entry:
        """Write an entry and return it. Raises InvalidInput for what cannot be saved, OSError where the disk fails.

        `notes` are what to know about it beside what its content says.
        """
        document = {
            "schema": SCHEMA,
            "name": name,
            "source": source[:MOST_SOURCE],
            "notes": [note[:MOST_SOURCE] for note in notes[:_MOST_NOTES]],
            "saved": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            self._content_key: dict(content),
        }
        entry = self._entry_of(document)
        text = json.dumps(document)
        if len(text) > LARGEST_BYTES + MOST_EXTRA:
            raise InvalidInput("config", "The configuration is too large to save.", f"up to {LARGEST_BYTES:,} bytes")
        if self.directory is None:
            raise InvalidInput("name", "Nothing can be saved here.", "")
        looked = self._look()
        if len(looked) >= MOST and f"{slug(entry.name)}.json" not in looked:
            raise InvalidInput("name", f"{MOST} are saved already.", "delete one first")
        self.directory.mkdir(parents=True, exist_ok=True)
        if not _write(self.directory / f"{slug(entry.name)}.json", text, replace):
            raise InvalidInput("name", f"{entry.name!r} is saved already.", "another name, or replace it")
        return entry

    def delete(self, name: str) -> bool:
        """Remove an entry; False where there is none."""
        entry = self.get(name)
        if entry is None or self.directory is None:
            return False
        (self.directory / f"{slug(entry.name)}.json").unlink(missing_ok=True)
        return True

    @property
    def _content_key(self) -> str:
        return CONTENT[self._key]

    def _look(self) -> Mapping[str, _Read[Entry]]:
        """The files as they are now; those that have not changed are not read again."""
        with self._lock:
            found, self._trouble = self._signatures()
            known = self._files
            self._files = {
                name: known[name]
                if name in known and known[name].signature == signature
                else self._read_file(name, signature)
                for name, signature in found.items()
            }
            return self._files

    def _signatures(self) -> tuple[dict[str, tuple[int, int, int]], str]:
        if self.directory is None:
            return {}, ""
        found = {}
        try:
            with os.scandir(self.directory) as entries:
                for one in entries:
                    if one.name.endswith(".json") and not one.name.startswith("."):
                        with suppress(FileNotFoundError):  # Deleted at this very moment.
                            stat = one.stat()
                            found[one.name] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        except (FileNotFoundError, NotADirectoryError):
            return {}, ""
        except OSError as error:
            return {}, f"{self._key}: the directory cannot be read: {error.strerror}"
        return found, ""

    def _read_file(self, name: str, signature: tuple[int, int, int]) -> _Read[Entry]:
        try:
            return _Read(signature, self._parsed(name), "")
        except InvalidInput as error:
            return _Read(signature, None, error.message)
        except (BadFile, json_text.NotJson) as error:
            return _Read(signature, None, str(error))
        except OSError as error:
            return _Read(signature, None, f"cannot be read: {error.strerror}")

    def _parsed(self, name: str) -> Entry:
        if not _FILE_NAME.fullmatch(name) or self.directory is None:
            raise BadFile("the file's name is none that is given here")
        with (self.directory / name).open("rb") as file:
            data = file.read(LARGEST_BYTES + MOST_EXTRA + 1)
        if len(data) > LARGEST_BYTES + MOST_EXTRA:
            raise BadFile("too large")
        document = json_text.read_document(data)
        keys = _KEYS | {self._content_key}
        if set(document) != keys:
            raise BadFile(f"keys differ: {', '.join(sorted(set(document) ^ keys))[:200]}")
        if document["schema"] != SCHEMA:
            raise BadFile(f"schema {str(document['schema'])[:20]} is not known")
        if not all(isinstance(document[key], str) for key in ("name", "source", "saved")):
            raise BadFile("name, source or saved is not text")
        notes = document["notes"]
        if not isinstance(notes, list) or len(notes) > _MOST_NOTES or not all(isinstance(one, str) for one in notes):
            raise BadFile(f"notes are not a list of up to {_MOST_NOTES} texts")
        entry = self._entry_of(document)
        if f"{slug(entry.name)}.json" != name:
            raise BadFile(f"holds {entry.name!r}, which belongs in another file")
        return entry


def _write(path: Path, text: str, replace: bool) -> bool:
    """Put a file in its place at once; False where one is there that may not be replaced."""
    descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        if replace:
            os.replace(temporary, path)
            return True
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError:  # A file system without hard links.
            if path.exists():
                return False
            os.replace(temporary, path)
        return True
    finally:
        Path(temporary).unlink(missing_ok=True)


class UserData:
    """The saved models and accelerators of one directory; of none, nothing."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self.models = Shelf(directory and directory / "models", "models", _read_model)
        self.gpus = Shelf(directory and directory / "gpus", "gpus", _read_gpu)
        self.calibrations = Shelf(directory and directory / "calibrations", "calibrations", _read_calibration)
        self.prices = Shelf(directory and directory / "prices", "prices", _read_price)


_NOTHING = UserData(None)
_in_use: ContextVar[UserData] = ContextVar("user_data")


def current() -> UserData:
    """What the catalogue lists beside the presets: set for a request or a command, otherwise nothing."""
    return _in_use.get(_NOTHING)


@contextmanager
def using(data: UserData) -> Iterator[UserData]:
    """Let the catalogue list these entries."""
    token = _in_use.set(data)
    try:
        yield data
    finally:
        _in_use.reset(token)
