"""A hub on a port of this machine: the addresses of a model's files as Hugging Face has them, and what goes wrong."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

#: An address of this machine at which nobody answers.
NOBODY = "http://127.0.0.1:9"

#: A small model that is nobody's preset.
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 100,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
#: Its parameters.
PARAMS = 86_848

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers with what the test has put at the address."""

    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.tokens.append(self.headers.get("Authorization"))
        answer = self.server.answers.get(self.path, status(404, "RepoNotFound"))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # The client has had enough.
            answer(self)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def send(self, code: int, body: bytes, **headers: str) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.tokens: list[str | None] = []


class FakeHub:
    """The server; `put` gives a model its files."""

    def __init__(self) -> None:
        self.server = Server()
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.answers = self.server.answers

    def __enter__(self) -> FakeHub:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def asked(self) -> list[str]:
        return self.server.asked

    def put(
        self,
        model_id: str,
        config: Answer | dict[str, Any] = CONFIG,
        *,
        counts: dict[str, int] | None = None,
        total_size: int | None = None,
    ) -> None:
        """A model with its configuration and, where they are given, the metadata of its checkpoint."""
        self.answers[f"/{model_id}/resolve/main/config.json"] = config if callable(config) else sent(config)
        about = {"id": model_id} | ({"safetensors": {"parameters": counts}} if counts else {})
        self.answers[f"/api/models/{model_id}?expand[]=safetensors"] = sent(about)
        self.answers[f"/{model_id}/resolve/main/model.safetensors.index.json"] = (
            sent({"metadata": {"total_size": total_size}, "weight_map": {}})
            if total_size
            else status(404, "EntryNotFound")
        )


def sent(document: object, **headers: str) -> Answer:
    """An answer that is this JSON, or these bytes."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return lambda handler: handler.send(200, body, **{"X_Repo_Commit": "0123456789abcdef" * 2 + "01234567"} | headers)


def status(code: int, error: str = "") -> Answer:
    """An error as the hub sends it."""
    headers = {"X_Error_Code": error} if error else {}
    return lambda handler: handler.send(code, b'{"error": "no"}', **headers)


def moved(address: str) -> Answer:
    """A redirect."""
    return lambda handler: handler.send(307, b"", Location=address)


def endless(handler: Handler) -> None:
    """A body that does not end."""
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b'{"a": 1} ' * 10_000)


def endless_error(handler: Handler) -> None:
    """An error whose body does not end."""
    handler.send_response(500)
    handler.end_headers()
    while True:
        handler.wfile.write(b"no" * 10_000)


def dripping(handler: Handler) -> None:
    """A body of a byte now and then."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.1)


def dripping_head(handler: Handler) -> None:
    """A head of a byte now and then."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    for _ in range(100):
        handler.wfile.write(b"x")
        handler.wfile.flush()
        time.sleep(0.1)


def silent(handler: Handler) -> None:
    """Nothing at all."""
    time.sleep(5)
