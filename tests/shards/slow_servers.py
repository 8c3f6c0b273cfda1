"""Servers on real sockets: one that accepts connections and never responds, and a proxy in front of a working server
that forwards responses slowly or stops in the middle of them."""

import functools
import http.server
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def silent_server() -> Iterator[str]:
    """The address of a server that accepts connections and never responds."""

    def serve(client: socket.socket) -> None:
        while client.recv(1 << 16):
            pass

    with _listening(serve) as address:
        yield address


@contextmanager
def slow_server(to: str, *, chunk: int = 400, pause: float = 0.1, silent_after: int = 0) -> Iterator[str]:
    """The address of a proxy that forwards responses of `to` in chunks of `chunk` bytes, with a pause after each.

    Args:
        silent_after: stop forwarding after this many bytes of a response; 0: never.
    """
    host, port = to.rsplit("/", 1)[-1].split(":")

    def serve(client: socket.socket) -> None:
        with socket.create_connection((host, int(port))) as server:
            threading.Thread(target=_forward_requests, args=(client, server), daemon=True).start()
            sent = 0
            while data := server.recv(chunk):
                if silent_after and sent >= silent_after:
                    while client.recv(1):
                        pass
                    return
                client.sendall(data)
                sent += len(data)
                time.sleep(pause)

    with _listening(serve) as address:
        yield address


def _forward_requests(client: socket.socket, server: socket.socket) -> None:
    with suppress(OSError):
        while data := client.recv(1 << 16):
            server.sendall(data)
        server.shutdown(socket.SHUT_WR)


@contextmanager
def _listening(serve) -> Iterator[str]:  # type: ignore[no-untyped-def]
    """Run `serve` in a thread for each connection, and close all connections at the end of the block."""
    open_: list[socket.socket] = []

    def one(client: socket.socket) -> None:
        with client, suppress(OSError):
            serve(client)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                open_.append(client)
                threading.Thread(target=one, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for each in [listener, *open_]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class _Ranges(http.server.SimpleHTTPRequestHandler):
    """Serves files of a folder, whole or in ranges."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if "Range" not in self.headers or not path.is_file():
            super().do_GET()
            return
        first, last = self.headers["Range"].removeprefix("bytes=").split("-")
        size = path.stat().st_size
        data = path.read_bytes()[int(first) : int(last or size) + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(data) - 1}/{size}")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def web_server(folder: str | os.PathLike[str]) -> Iterator[str]:
    """The address of a working web server for the files of a folder."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Ranges, directory=str(folder)))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
