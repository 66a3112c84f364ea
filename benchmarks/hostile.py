"""2,000 hostile requests to a real server: none may be answered with 5xx, none may stay without an answer.

    python benchmarks/hostile.py [--requests 2000]

Raw bytes on a socket, so that nothing on this side mends them: broken request lines and headers, bodies that lie about
their length or type, deep and huge JSON, wrong methods, paths that climb, values that break programs. Prints how often
each status came; "closed" is a request that HTTP itself forbids answering, and that the server hung up on.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlencode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.crash import Server

SEED = 20261127
TIMEOUT_SECONDS = 60
PATHS = (
    "/", "/train", "/plan", "/visualize", "/visualize.csv", "/results/x", "/models", "/models/import", "/models/save",
    "/gpus", "/accuracy", "/docs", "/api/v1/estimate", "/api/v1/train", "/api/v1/plan", "/api/v1/models",
    "/api/v1/runs/x", "/static/app.css", "/login", "/healthz", "/readyz", "/metrics",
)  # fmt: skip
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW", "get", "")
NAMES = (
    "model",
    "gpu",
    "num_gpus",
    "concurrency",
    "input_tokens",
    "tp",
    "weight_precision",
    "q",
    "page",
    "sort",
    "run",
)
VALUES = ("", "-1", "1e999", "nan", "9" * 5000, "\0", "\ud83d", "<script>alert(1)</script>", "'; DROP TABLE runs; --",
          "../../../etc/passwd", "${{7*7}}", "=cmd|' /C calc'!A0", "a\r\nSet-Cookie: a=b", "x" * 100_000)  # fmt: skip
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

chance = random.Random(SEED)  # noqa: S311


def request(method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    """A request with a length that is true, but for what the headers say."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in lines):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n\r\n" + body


def strange_method() -> bytes:
    return request(chance.choice(METHODS), chance.choice(PATHS), b"x=1")


def strange_path() -> bytes:
    parts = [chance.choice(("..", "%2e%2e", "%00", "%ff", "\\", "a" * 3000, "static", "api", "models", "//", "ü", "*"))
             for _ in range(chance.randrange(1, 6))]  # fmt: skip
    return request("GET", "/" + "/".join(parts))


def strange_query() -> bytes:
    asked = {chance.choice(NAMES): chance.choice(VALUES)[:3000].encode("utf-8", "replace") for _ in range(3)}
    return request("GET", f"{chance.choice(PATHS)}?{urlencode(asked)}")


def strange_form() -> bytes:
    sent = {chance.choice(NAMES): chance.choice(VALUES).encode("utf-8", "replace") for _ in range(4)}
    return request("POST", chance.choice(PATHS), urlencode(sent).encode(), f"Content-Type: {FORM}")


def strange_json() -> bytes:
    document = {"model": "llama-3.1-8b", "gpu": "h100-sxm"} | {
        chance.choice(NAMES): chance.choice((*VALUES, None, True, [], {}, 10**400, -0.0, [[[[]]]])) for _ in range(3)
    }
    return request("POST", chance.choice(PATHS), json.dumps(document).encode(), f"Content-Type: {JSON}")


def broken_json() -> bytes:
    body = chance.choice((
        b"{", b"[" * 100_000, b'{"a":' * 5000, b"\xff\xfe", b'"text"', b"NaN", b'{"model":1e999999}', b"{}" * 50_000,
        b'{"model":"a","model":"b"}', b"\0" * 1000, b'{"model":"\\ud800"}',
    ))  # fmt: skip
    return request("POST", chance.choice(("/api/v1/estimate", "/api/v1/train", "/api/v1/plan")), body)


def too_large() -> bytes:
    path = chance.choice(("/", "/models/import", "/api/v1/estimate", "/login"))
    return request("POST", path, b"a" * chance.choice((300_000, 3_000_000, 12_000_000)), f"Content-Type: {FORM}")


def lying_length() -> bytes:
    length = chance.choice(("-1", "0x10", "99999999999999999999", "1, 2", "", "3"))
    return request("POST", "/api/v1/estimate", b'{"a":1}', f"Content-Length: {length}")


def chunked() -> bytes:
    body = chance.choice((b"0\r\n\r\n", b"5\r\nabcde\r\n0\r\n\r\n", b"zz\r\n", b"ffffffffffffffff\r\na\r\n", b"-1\r\n"))
    return request("POST", "/api/v1/estimate", body, "Transfer-Encoding: chunked")


def smuggled() -> bytes:
    return request(
        "POST", "/", b"0\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n", "Content-Length: 4", "Transfer-Encoding: chunked"
    )


def strange_multipart() -> bytes:
    body = chance.choice((
        b"", b"--x", b"--x\r\n\r\n", b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--\r\n",
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="../../a"\r\n\r\n{}\r\n--x--\r\n',
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"a" * 200_000 + b"\r\n--x--\r\n",
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 3000 + b"--x--\r\n",
    ))  # fmt: skip
    return request("POST", chance.choice(("/models/import", "/models/save", "/")), body,
                   "Content-Type: multipart/form-data; boundary=x")  # fmt: skip


def strange_header() -> bytes:
    header = chance.choice((
        "X: " + "a" * 9000, "X-Forwarded-For: " + "1, " * 2000, "Cookie: session=" + "a" * 4000,
        "Accept: " + "*/*;q=x," * 900, "Authorization: Basic \xff", "Range: bytes=0-1,2-3,-5",
        "If-Modified-Since: never", "Host: evil.example", "Sec-Fetch-Site: cross-site",
        "Accept-Encoding: gzip;q=nan, *;q=-1",
        "Content-Type: text/html; charset=nonsense",
        "Expect: 100-continue", "X-Request-ID: a\tb", "Bad Header: x", "Origin: null", "Upgrade: websocket",
    ))  # fmt: skip
    return request(chance.choice(("GET", "POST")), chance.choice(PATHS), b"", header)


def no_http() -> bytes:
    return chance.choice((b"\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
                          b"GET / HTTP/1.1\r\n\r\n", b"a" * 10_000 + b"\r\n\r\n", bytes(range(256)) * 8))  # fmt: skip


def huge_work() -> bytes:
    path, document = chance.choice((
        ("/api/v1/estimate", {"concurrency": 10**9, "input_tokens": 10**9}),
        ("/api/v1/estimate", {"concurrency": 10**7, "input_tokens": 10**8, "output_tokens": 10**8, "num_gpus": 16_384}),
        ("/api/v1/train", {"num_gpus": 10**6, "global_batch_size": 10**8}),
        ("/api/v1/plan", {"gpu": "", "weight_precision": "bf16,fp8,int8,int4,fp4", "kv_precision": "bf16,fp8",
                          "input_tokens": 1, "output_tokens": 1, "request_rate": 1e9}),
    ))  # fmt: skip
    return request("POST", path, json.dumps({"model": "llama-3.1-8b", "gpu": "h100-sxm"} | document).encode())


def traversal() -> bytes:
    name = quote(
        chance.choice(("../../../../etc/passwd", "..%2f..%2fsecret_key", "\0", "con", "a/../../b", "x" * 4000))
    )
    return request(
        "GET", chance.choice(("/models/", "/gpus/", "/docs/", "/static/", "/results/", "/models/export?name=")) + name
    )


KINDS: tuple[Callable[[], bytes], ...] = (
    strange_method, strange_path, strange_query, strange_form, strange_json, broken_json, too_large, lying_length,
    chunked, smuggled, strange_multipart, strange_header, no_http, huge_work, traversal,
)  # fmt: skip


def status(port: int, data: bytes) -> str:
    """The status of the answer; "closed" without one, "silent" where nothing comes in time."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # Refused before all of it was sent; the answer may be there.
        try:
            while b"\r\n" not in answer and (part := connection.recv(4096)):
                answer += part
        except TimeoutError:
            return "silent"
        except OSError:
            pass
    words = answer.split(b" ", 2)
    return words[1].decode("ascii", "replace") if len(words) > 1 and words[0].startswith(b"HTTP/") else "closed"


def hostile(directory: Path, count: int, clients: int = 8) -> dict[str, Counter[str]]:
    """How often each kind of request was answered with each status."""
    requests = [(KINDS[number % len(KINDS)], KINDS[number % len(KINDS)]()) for number in range(count)]
    found: dict[str, Counter[str]] = {kind.__name__: Counter() for kind in KINDS}
    with Server(directory, 2) as server, ThreadPoolExecutor(clients) as pool:
        answers = pool.map(lambda one: status(server.port, one[1]), requests)
        for (kind, _), answer in zip(requests, answers, strict=True):
            found[kind.__name__][answer] += 1
        if server.request("GET", "/healthz")[0] != 200:
            raise RuntimeError("the server does not live any more")
    return found


def is_good(found: dict[str, Counter[str]]) -> bool:
    return not any(answer == "silent" or answer.startswith("5") for counts in found.values() for answer in counts)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--requests", type=int, default=2000)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        found = hostile(Path(directory), given.requests)
        printed = (Path(directory) / "gunicorn.txt").read_text()
    for kind, counts in found.items():
        print(f"{kind:18}", ", ".join(f"{answer}: {count}" for answer, count in sorted(counts.items())))
    total = sum(found.values(), Counter())
    print(f"{'all':18}", ", ".join(f"{answer}: {count}" for answer, count in sorted(total.items())))
    print(f"tracebacks printed: {printed.count('Traceback')}")
    return not is_good(found)


if __name__ == "__main__":
    sys.exit(main())
