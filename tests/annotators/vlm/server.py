"""A small server with OpenAI's chat completions API that records its requests."""

import base64
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from spatialdata_builder.annotators.vlm.client import Backend, RejectedRequest, Request
from spatialdata_builder.shards.codecs import decode_image

Reply = str | tuple[int, Any]
"""The text of an answer, or a status and a body."""


class Service:
    """The server's URL and its requests, in order of arrival."""

    def __init__(self, answer: Callable[[dict[str, Any]], Reply], models: Reply) -> None:
        self.answer, self.models = answer, models
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""
        self.lock = threading.Lock()


@contextmanager
def serving(answer: Callable[[dict[str, Any]], Reply], models: Reply | None = None) -> Iterator[Service]:
    """Run a server.

    Args:
        answer: returns the reply to a request, from its body.
        models: the reply to GET /models; by default a list with model `tiny`.
    """
    service = Service(answer, models or (200, {"object": "list", "data": [{"id": "tiny"}]}))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply(service.models if self.path == "/v1/models" else (404, {}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with service.lock:
                service.bodies.append(body)
                service.headers.append(dict(self.headers))
            self._reply(service.answer(body) if self.path == "/v1/chat/completions" else (404, {}))

        def _reply(self, reply: Reply) -> None:
            if isinstance(reply, str):
                reply = 200, {"choices": [{"message": {"role": "assistant", "content": reply}}]}
            status, content = reply
            data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def images_of(body: dict[str, Any]) -> list[np.ndarray]:
    """The images of a request, decoded, in order."""
    parts = body["messages"][-1]["content"]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    return [decode_image(base64.b64decode(url.removeprefix("data:image/png;base64,"))) for url in urls]


def text_of(body: dict[str, Any]) -> str:
    return "".join(part["text"] for part in body["messages"][-1]["content"] if part["type"] == "text")


def complete(backend: Backend, requests: Sequence[Request]) -> list[str | RejectedRequest]:
    """The answers of the first attempt, in the order of the requests."""
    answers = dict(backend.stream(requests, 0))
    return [answers[index] for index in range(len(requests))]
