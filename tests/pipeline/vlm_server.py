"""A server for OpenAI's chat completions API that answers with a function of the request's images."""

import base64
import json
import threading
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from spatialdata_builder.shards.codecs import decode_image

Answer = Callable[[str, list[np.ndarray]], object]


class Served:
    """State of the server: after `healthy` answers, it returns only 503."""

    def __init__(self, answer: Answer) -> None:
        self.answer, self.healthy, self.answered = answer, 10**9, 0
        self.url = ""
        self.lock = threading.Lock()


@contextmanager
def serve(answer: Answer):
    """Serve a model `seer` on a free port."""
    served = Served(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(200, {"data": [{"id": "seer"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with served.lock:
                sick = served.answered >= served.healthy
                served.answered += not sick
            if sick:
                self._reply(503, {"error": "no more"})
                return
            parts = body["messages"][-1]["content"]
            images = [picture(part["image_url"]["url"]) for part in parts if part["type"] == "image_url"]
            text = json.dumps(served.answer(parts[-1]["text"], images))
            self._reply(200, {"choices": [{"message": {"content": text}}]})

        def _reply(self, code: int, content: object) -> None:
            data = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """No log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}/v1"
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def picture(url: str) -> np.ndarray:
    return decode_image(base64.b64decode(url.partition("base64,")[2]))
