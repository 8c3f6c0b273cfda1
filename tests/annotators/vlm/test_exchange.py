"""The total time and size of a reply are limited, whatever the server does."""

import json
import resource
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spatialdata_builder.annotators.vlm.backends import open_backend
from spatialdata_builder.annotators.vlm.client import Request
from spatialdata_builder.annotators.vlm.exchange import MAX_REPLY_BYTES
from spatialdata_builder.annotators.vlm.options import VlmOptions
from spatialdata_builder.shards.errors import BadInput, SpatialdataError
from tests.annotators.vlm.server import complete

ROOT = Path(__file__).resolve().parents[3]
QUESTION = Request("s-1", "You compare.", "What differs?", (), {"type": "object"})
MODELS = json.dumps({"data": [{"id": "tiny"}]}).encode()
ANSWER = json.dumps({"choices": [{"message": {"content": "{}"}}]}).encode()
Send = Callable[[bytes], None]
Behavior = Callable[[Send], object]
"""Sends a reply to a chat request. Raises OSError when the client is gone."""


@contextmanager
def serving(behave: Behavior, *, wrap: Callable[[socket.socket], socket.socket] | None = None) -> Generator[str]:
    """The address of a server with a valid list of models, whose replies to chat requests `behave` sends."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(plain: socket.socket) -> None:
        try:
            with wrap(plain) if wrap else plain as connection:
                while request := _request_of(connection):
                    if request.startswith(b"GET"):
                        connection.sendall(whole(MODELS))
                    else:
                        behave(connection.sendall)
                        return
        except OSError:
            pass

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"{'https' if wrap else 'http'}://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _request_of(connection: socket.socket) -> bytes:
    """Read one complete request; empty at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (part := connection.recv(65536)):
            return b""
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    size = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < size:
        body += connection.recv(65536)
    return data


def whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def drips(data: bytes, pause: float = 0.05) -> Behavior:
    """Send single bytes without end, each long before a socket's timeout."""

    def behave(send: Send) -> None:
        for byte in data:
            send(bytes([byte]))
            time.sleep(pause)
        while True:
            send(b" ")
            time.sleep(pause)

    return behave


def pours(head: bytes, block: bytes) -> Behavior:
    def behave(send: Send) -> None:
        send(head)
        while True:
            send(block)

    return behave


def options(url: str, **others: object) -> VlmOptions:
    return VlmOptions(**{"backend": "openai", "base_url": url, "model": "tiny", "send_attempts": 1, **others})  # pyright: ignore[reportArgumentType]


HEAD = b"HTTP/1.1 200 OK\r\n"
LONG = HEAD + b"Content-Length: 1000000\r\n\r\n"
SLOW: dict[str, Behavior] = {
    "a body that drips": drips(LONG),
    "a body that drips until the connection closes": drips(HEAD + b"Connection: close\r\n\r\n"),
    "chunks that drip": lambda send: (
        send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n"),
        drips(b"1\r\n \r\n" * 1000)(send),
    ),
    "a header that never ends": drips(HEAD + b"X-Long: "),
    "headers that never end": drips(HEAD + b"X: 1\r\n" * 99),
    "a status line that drips": drips(b"HTTP/1.1 200 " + b"O" * 60000),
    "promises": lambda send: [(send(b"HTTP/1.1 100 Continue\r\n\r\n"), time.sleep(0.02)) for _ in iter(int, 1)],
    "a busy server that drips": drips(b"HTTP/1.1 503 Busy\r\nContent-Length: 100000\r\n\r\n"),
    "nothing": lambda send: time.sleep(30),
}


@pytest.mark.parametrize("behave", SLOW.values(), ids=SLOW.keys())
def test_a_reply_that_does_not_end_times_out(behave: Behavior):
    with serving(behave) as url:
        backend = open_backend(options(url, timeout_s=0.5, send_attempts=2), images=0)
        began = time.monotonic()
        with pytest.raises(SpatialdataError, match=r"did not answer within 0\.5 s \(2 attempts\).*timeout_s.*are kept"):
            complete(backend, [QUESTION])
        assert 0.9 < time.monotonic() - began < 10


def test_a_slow_reply_over_tls_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run([*command, *names], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl, which makes the server's certificate, is not installed")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with serving(drips(LONG), wrap=lambda plain: context.wrap_socket(plain, server_side=True)) as url:
        backend = open_backend(options(url, timeout_s=0.5), images=0)
        began = time.monotonic()
        with pytest.raises(SpatialdataError, match="did not answer within"):
            complete(backend, [QUESTION])
        assert time.monotonic() - began < 10


MANY = b" " * (1 << 20)
ENDLESS: dict[str, Behavior] = {
    "by its own word": pours(HEAD + b"Content-Length: 1600000000\r\n\r\n", MANY),
    "until the connection closes": pours(HEAD + b"Connection: close\r\n\r\n", MANY),
    "in chunks": pours(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"100000\r\n" + MANY + b"\r\n"),
    "as an error": pours(b"HTTP/1.1 400 Bad\r\nContent-Length: 1600000000\r\n\r\n", MANY),
    "while busy": pours(b"HTTP/1.1 503 Busy\r\nContent-Length: 1600000000\r\n\r\n", MANY),
}


@pytest.mark.parametrize("behave", ENDLESS.values(), ids=ENDLESS.keys())
def test_a_reply_that_is_too_large_is_not_read(behave: Behavior):
    with serving(behave) as url:
        backend = open_backend(options(url, timeout_s=60, send_attempts=2), images=0)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(SpatialdataError, match=r"answers with more than 16 MiB: check vlm\.base_url.*are kept"):
            complete(backend, [QUESTION])
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * MAX_REPLY_BYTES / 1024


def test_a_slow_reply_within_the_limit_is_read():
    def slowly(send: Send) -> None:
        for byte in whole(ANSWER):
            send(bytes([byte]))
            time.sleep(0.005)

    with serving(slowly) as url:
        assert complete(open_backend(options(url, timeout_s=30), images=0), [QUESTION]) == ["{}"]


def test_the_deadline_of_one_request_does_not_end_the_next():
    """The next request uses the same connection while the time of the one before runs out."""
    answered: list[float] = []

    def behave(send: Send) -> None:
        time.sleep(0.4)
        answered.append(time.monotonic())
        send(whole(ANSWER))

    with serving(behave) as url:
        backend = open_backend(options(url, timeout_s=0.6), images=0)  # the list of models has its own 0.6 s
        assert complete(backend, [QUESTION]) == ["{}"]
    assert len(answered) == 1


def test_a_large_reply_within_the_limit_is_read():
    text = "x" * (MAX_REPLY_BYTES // 2)
    body = json.dumps({"choices": [{"message": {"content": text}}]}).encode()
    with serving(lambda send: send(whole(body))) as url:
        assert complete(open_backend(options(url), images=0), [QUESTION]) == [text]


def test_deeply_nested_json_is_no_answer():
    with serving(lambda send: send(whole(b"[" * 1_000_000))) as url:
        backend = open_backend(options(url), images=0)
        with pytest.raises(SpatialdataError, match="does not implement OpenAI's chat completions API"):
            complete(backend, [QUESTION])


def test_a_redirect_is_not_followed():
    moved = b"HTTP/1.1 307 Moved\r\nLocation: http://other/v1/chat\r\nContent-Length: 0\r\n\r\n"
    with serving(lambda send: send(moved)) as url:
        backend = open_backend(options(url), images=0)
        with pytest.raises(BadInput, match=r"redirects to http://other/v1/chat \(status 307\): set vlm\.base_url"):
            complete(backend, [QUESTION])


def test_retry_after_is_respected():
    replies = [b"HTTP/1.1 429 Slow\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", whole(ANSWER)]
    with serving(lambda send: send(replies.pop(0))) as url:
        backend = open_backend(options(url, send_attempts=2), images=0)
        began = time.monotonic()
        assert complete(backend, [QUESTION]) == ["{}"]
        assert time.monotonic() - began >= 1


STARTS = """
import sys
import spatialdata_builder.annotators.vlm.server
assert "requests" not in sys.modules
"""


@pytest.mark.slow
def test_importing_the_server_backend_does_not_import_requests():
    subprocess.run([sys.executable, "-c", STARTS], cwd=ROOT, check=True)
