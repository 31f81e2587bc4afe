"""A real HTTP server on the loopback interface that speaks the protocol of embedding endpoints, well or badly."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

Reply = Callable[[dict[str, Any]], tuple[int, Any]]
"""From a request to a status and what is answered, JSON or bytes."""


@dataclass
class Endpoint:
    """A server on the loopback interface; ``answers`` are given in turn, the last one again and again."""

    url: str
    answers: list[Reply]
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


def answer(request: dict[str, Any]) -> tuple[int, Any]:
    """Vectors that tell the texts apart by their length, in a shuffled order, as the protocol allows."""
    data = [{"index": n, "embedding": [3.0 * len(text), 4.0, 0.0]} for n, text in enumerate(request["input"])]
    return 200, {"object": "list", "data": data[::-1], "usage": {"total_tokens": 1}}


def status(code: int, message: str = "") -> Reply:
    return lambda request: (code, {"error": {"message": message}})


@contextmanager
def serving(*answers: Reply) -> Iterator[Endpoint]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            endpoint.requests.append({"path": self.path, **body})
            endpoint.headers.append(dict(self.headers))
            reply = endpoint.answers.pop(0) if len(endpoint.answers) > 1 else endpoint.answers[0]
            code, content = reply(body)
            payload = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(code)
            if code in (301, 307):
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            if code == 429:
                self.send_header("Retry-After", "0")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    endpoint = Endpoint(f"http://127.0.0.1:{server.server_port}/v1", list(answers))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
