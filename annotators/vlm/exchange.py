"""Send one HTTP request, with limits on the total time and size of the reply.

A socket's timeout restarts with each byte, so a server that sends single bytes would never time out. A reply without
end would fill the memory. Invariant: whatever the server does, `send` returns or raises within the time limit, and
holds at most `MAX_REPLY_BYTES` of the reply.
"""

import json
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from socket import SHUT_RDWR
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

MAX_REPLY_BYTES: Final = 16 << 20
"""Limit of a decoded reply. A chat answer has a few kilobytes, the longest list of models a few megabytes."""
_CHUNK: Final = 1 << 16
_CONNECT_S: Final = 10.0
_exchange = threading.local()
"""`.deadline` is the deadline of this thread's current request."""


class ReplyTimeout(Exception):
    """The reply was not complete within its time limit."""


class ReplyTooLarge(Exception):
    """The reply has more than `MAX_REPLY_BYTES`."""


@dataclass(frozen=True)
class Reply:
    """A server's reply."""

    status: int
    headers: Mapping[str, str]
    text: str

    def json(self) -> Any:
        """The parsed text. Raises ValueError if it is not JSON, or nested too deeply."""
        try:
            return json.loads(self.text)
        except RecursionError as error:
            raise ValueError("too deeply nested") from error


@dataclass
class _Deadline:
    """Shuts down the connection of one request when its time is over, which ends any read from it."""

    seconds: float
    expired: bool = False
    _socket: Any = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._timer = threading.Timer(self.seconds, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> "_Deadline":
        _exchange.deadline = self
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        _exchange.deadline = None
        with self._lock:
            self._socket = None  # the connection may now serve another request

    def watch(self, connection: HTTPConnection) -> None:
        with self._lock:
            self._socket = connection.sock
            if self.expired:
                self._cut()

    def _expire(self) -> None:
        with self._lock:
            self.expired = True
            self._cut()

    def _cut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # already closed
                self._socket.shutdown(SHUT_RDWR)


class _WatchedConnection(HTTPConnection):
    def getresponse(self) -> Any:
        _watch(self)
        return super().getresponse()


class _WatchedTlsConnection(HTTPSConnection):
    def getresponse(self) -> Any:
        _watch(self)
        return super().getresponse()


def _watch(connection: HTTPConnection) -> None:
    deadline: _Deadline | None = getattr(_exchange, "deadline", None)
    if deadline is not None:
        deadline.watch(connection)


class _WatchedPool(HTTPConnectionPool):
    ConnectionCls: Any = _WatchedConnection


class _WatchedTlsPool(HTTPSConnectionPool):
    ConnectionCls: Any = _WatchedTlsConnection


class _Adapter(HTTPAdapter):
    """Uses watched connections, also through a proxy."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _use_watched_pools(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        _use_watched_pools(manager)
        return manager


def _use_watched_pools(manager: Any) -> None:
    manager.pool_classes_by_scheme = {"http": _WatchedPool, "https": _WatchedTlsPool}


def open_session(connections: int) -> requests.Session:
    """A session for `send` that keeps this many connections open."""
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter(pool_maxsize=connections, max_retries=0))
    return session


def send(session: requests.Session, method: str, url: str, body: Mapping[str, Any] | None, seconds: float) -> Reply:
    """Send a request once, and read the whole reply.

    Raises ReplyTimeout if the reply is not complete after `seconds`, ReplyTooLarge if it has more than
    `MAX_REPLY_BYTES`, and requests.RequestException for all other failures.
    """
    timeouts = (min(_CONNECT_S, seconds), seconds)
    with _Deadline(seconds) as deadline:
        try:
            with session.request(
                method, url, json=body, timeout=timeouts, stream=True, allow_redirects=False
            ) as answer:
                reply = Reply(answer.status_code, answer.headers, _read(answer).decode("utf-8", "replace"))
        except requests.ReadTimeout:
            raise ReplyTimeout from None
        except requests.RequestException:
            if deadline.expired:
                raise ReplyTimeout from None
            raise
        if deadline.expired:  # a reply that was cut off may look complete
            raise ReplyTimeout
        return reply


def _read(answer: requests.Response) -> bytes:
    parts: list[bytes] = []
    left = MAX_REPLY_BYTES
    for part in answer.iter_content(_CHUNK):
        left -= len(part)
        if left < 0:
            raise ReplyTooLarge
        parts.append(part)
    return b"".join(parts)
