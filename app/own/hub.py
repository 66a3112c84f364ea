"""A model's config.json from a Hugging Face hub, asked for by its id. The only file that talks to another server.

Only the configured host is asked, for a few small files, within TOTAL_SECONDS; huggingface_hub builds the addresses
and reads the errors, and is imported only here and only then.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urljoin, urlsplit

from app import json_text
from app.calculations.errors import InvalidInput
from app.own import safetensors
from app.own.safetensors import Stored

if TYPE_CHECKING:
    import httpx2

CONNECT_SECONDS = 3.0
TOTAL_SECONDS = 10.0
#: Of them, what may be spent on confirming the count once the configuration is there.
CONFIRM_SECONDS = 4.0
LARGEST_BYTES = 10_000_000
MOST_REDIRECTS = 3

PART = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
ID = re.compile(rf"{PART}/{PART}")
ID_ALLOWED = "owner/name, of letters, digits and . _ -"
INSTEAD = "the id of a public model, or its config.json"

Answer = TypeVar("Answer")


class HubError(InvalidInput):
    """A model that could not be had from the hub: says why and what to give instead."""


class Unreachable(HubError):
    """The hub did not answer, so it is not known whether it has the model."""


class _Refused(Exception):
    """An answer that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Hub:
    """Where models are asked for."""

    endpoint: str
    token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What the hub holds of a model."""

    config: dict[str, Any]
    source: str
    #: The size that the checkpoint's metadata state, where they could be had.
    stored: Stored | None


def is_id(name: str) -> bool:
    """Whether a name has the form of a model's id: owner/name."""
    return bool(ID.fullmatch(name)) and ".." not in name and "--" not in name


def fetch(model_id: str, hub: Hub, field: str = "model") -> Fetched:
    """The model's configuration and the size of its checkpoint. Raises HubError."""
    model_id = model_id.strip()
    shown = repr(model_id if len(model_id) <= 100 else model_id[:97] + "...")
    if not is_id(model_id):
        raise HubError(field, f"{shown} is not the id of a model on a hub.", ID_ALLOWED)
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        raise Unreachable(field, f"{hub.endpoint} was not asked for {shown}, because HF_HUB_OFFLINE is set.", INSTEAD)
    end = time.monotonic() + TOTAL_SECONDS
    try:
        config, commit = _within(end, lambda: _config(model_id, hub, end))
    except _Refused as error:
        raise HubError(field, f"Model {shown}: {error}", INSTEAD) from None
    except TimeoutError:
        message = f"{hub.endpoint} did not send the configuration of {shown} within {TOTAL_SECONDS:g} s."
        raise Unreachable(field, message, INSTEAD) from None
    except OSError:
        raise Unreachable(field, f"{hub.endpoint} could not be reached.", INSTEAD) from None
    end = min(end, time.monotonic() + CONFIRM_SECONDS)
    try:
        stored = _within(end, lambda: _stored(model_id, hub, end))
    except (OSError, _Refused):
        stored = None
    revision = f" at {commit[:12]}" if commit else ""
    return Fetched(config=config, source=f"config.json of {hub.endpoint}/{model_id}{revision}", stored=stored)


def _within(end: float, work: Callable[[], Answer]) -> Answer:
    """The answer of `work`, or TimeoutError at `end`, whatever it is stuck in (names are looked up without limit)."""
    answers: list[Answer] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True, name="hub")
    thread.start()
    thread.join(max(0.0, end - time.monotonic()))
    if errors:
        raise errors[0]
    if not answers:
        raise TimeoutError
    return answers[0]


def _config(model_id: str, hub: Hub, end: float) -> tuple[dict[str, Any], str]:
    """The configuration and the commit that it is of."""
    from huggingface_hub import hf_hub_url

    data, headers = _get(hf_hub_url(model_id, "config.json", endpoint=hub.endpoint), hub, end)
    try:
        config = json_text.read_document(data)
    except json_text.NotJson as error:
        raise _Refused(f"what {hub.endpoint} sent as its config.json cannot be used. {error}") from None
    commit = headers.get("x-repo-commit", "")
    return config, commit if re.fullmatch(r"[0-9a-f]{40}", commit) else ""


def _stored(model_id: str, hub: Hub, end: float) -> Stored | None:
    """What the hub has read from the checkpoint's files, else what their index says."""
    from huggingface_hub import hf_hub_url

    try:
        about = _object(f"{hub.endpoint}/api/models/{quote(model_id)}?expand[]=safetensors", hub, end)
        found = about.get("safetensors")
        stored = safetensors.from_counts(found.get("parameters")) if isinstance(found, dict) else None
    except _Refused:
        stored = None
    if stored is None:
        index = hf_hub_url(model_id, "model.safetensors.index.json", endpoint=hub.endpoint)
        stored = safetensors.from_index(_object(index, hub, end))
    return stored


def _object(url: str, hub: Hub, end: float) -> dict[str, Any]:
    try:
        return json_text.read_object(_get(url, hub, end)[0])
    except json_text.NotJson as error:
        raise _Refused(str(error)) from None


def _get(url: str, hub: Hub, end: float) -> tuple[bytes, Mapping[str, str]]:
    """A file of the configured host, of limited size, and its headers. Raises _Refused, OSError or TimeoutError."""
    import httpx2
    from huggingface_hub.utils import build_hf_headers

    origin = urlsplit(hub.endpoint)[:2]
    headers = build_hf_headers(token=hub.token or False) | {"accept-encoding": "identity"}
    timeout = httpx2.Timeout(max(0.1, end - time.monotonic()), connect=CONNECT_SECONDS)
    try:
        with httpx2.Client(timeout=timeout, follow_redirects=False, headers=headers) as client:
            for _ in range(MOST_REDIRECTS + 1):
                with client.stream("GET", url) as response:
                    if not response.is_redirect:
                        return _body(response, end), dict(response.headers)
                    url = urljoin(url, response.headers.get("location", ""))
                if urlsplit(url)[:2] != origin:
                    raise _Refused("its file lies on another host, which is not asked.")
            raise _Refused(f"{hub.endpoint} sends from one address to the next.")
    except (httpx2.ReadTimeout, httpx2.WriteTimeout):
        raise TimeoutError from None
    except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError):
        # Not told in detail: the text of some of these errors quotes the headers, and so the token.
        raise OSError(f"no answer from {hub.endpoint}") from None


def _body(response: httpx2.Response, end: float) -> bytes:
    """The body of a good answer, or _Refused for one that is bad or too large."""
    if response.status_code != 200:
        raise _Refused(_refusal(response))
    data = bytearray()
    for chunk in response.iter_raw():
        data += chunk
        if len(data) > LARGEST_BYTES:
            raise _Refused(f"its file is larger than {LARGEST_BYTES // 1_000_000} MB.")
        if time.monotonic() > end:
            raise TimeoutError
    return bytes(data)


def _refusal(response: httpx2.Response) -> str:
    """What an error of the hub means for the user."""
    import httpx2
    from huggingface_hub import errors
    from huggingface_hub.utils import hf_raise_for_status

    # The library reads the whole body to look for words in it; the headers say enough.
    told = {name: text for name, text in response.headers.items() if name.lower().startswith("x-error-")}
    head = httpx2.Response(response.status_code, headers=told, request=response.request)
    try:
        hf_raise_for_status(head)
    except errors.GatedRepoError:
        return "it is gated: accept its terms on the hub, then set HF_TOKEN to a token of that account."
    except errors.RemoteEntryNotFoundError:
        return "it has no config.json."
    except errors.RepositoryNotFoundError:
        return "the hub has no such model, or it is private: set HF_TOKEN to a token that may read it."
    except errors.HfHubHTTPError:
        pass
    status = response.status_code
    if status in (401, 403):
        return "the hub does not let it be read: set HF_TOKEN to a token that may read it."
    if status == 404:
        return "the hub has no such model."
    if status == 429:
        return "the hub is asked too often from here; try again later, or set HF_TOKEN."
    return f"the hub answered with status {status}."
