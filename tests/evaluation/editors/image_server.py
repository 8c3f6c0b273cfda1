"""A server for OpenAI's image-edit API."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers, body."""


@dataclass
class Seen:
    """One request, parsed."""

    path: str
    headers: dict[str, str]
    fields: dict[str, bytes] = field(default_factory=dict)
    """Of the form: files and texts by name."""


def answered(**entry: str) -> Answer:
    return 200, {}, json.dumps({"created": 0, "data": [entry]}).encode()


def encoded(data: bytes) -> Answer:
    return answered(b64_json=base64.b64encode(data).decode())


@contextmanager
def serve(answer: Callable[[Seen], Answer]) -> Iterator[tuple[str, list[Seen]]]:
    """Serve on a free port; yields the URL and the list of requests so far."""
    seen: list[Seen] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(Seen(self.path, dict(self.headers)))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            parts = message_from_bytes(head + body, policy=HTTP).iter_parts()
            fields = {
                part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in parts
            }
            self._answer(Seen(self.path, dict(self.headers), fields))

        def _answer(self, request: Seen) -> None:
            seen.append(request)
            status, headers, body = answer(request)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """No log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
