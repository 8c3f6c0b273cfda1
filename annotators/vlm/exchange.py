"""Send one HTTP request, with limits on the total time and size of the reply.

A socket's timeout restarts with each byte, so a server that sends single bytes would never time out. A reply without
end would fill the memory. Invariant: whatever the server does, `send` returns or raises within the time limit, and
holds at most as much of the reply as it may.
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
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from ...shards.redact import redact

MAX_REPLY_BYTES: Final = 16 << 20
"""Limit of a decoded reply. A chat answer has a few kilobytes, the longest list of models a few megabytes."""
BUSY: Final = (408, 425, 429, 500, 502, 503, 504)
"""Statuses after which the same request may succeed."""
SCANNED_CHARACTERS: Final = 20_000
"""Characters of an error reply that are searched for its message."""
_BACKOFF_S: Final = 0.5
"""The first retry is immediate. The next waits for twice this time, the one after for four times, and so on, unless
the server names a time."""
_MAX_PAUSE_S: Final = 60.0
_CHUNK: Final = 1 << 16
_CONNECT_S: Final = 10.0
_exchange = threading.local()
"""`.deadline` is the deadline of this thread's current request."""


class ReplyTimeout(Exception):
    """The reply was not complete within its time limit."""


class ReplyTooLarge(Exception):
    """The reply has more bytes than it may."""


@dataclass(frozen=True)
class Reply:
    """A server's reply."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace")

    @property
    def reason(self) -> str:
        """The message of an error reply, which servers put under different keys; one line, without secrets."""
        try:
            content = self.json()
        except ValueError:
            content = self.text[:SCANNED_CHARACTERS]
        for name in ("error", "message", "detail"):
            content = content.get(name, content) if isinstance(content, dict) else content
        text = content if isinstance(content, str) else json.dumps(content)
        return redact(" ".join(text[:SCANNED_CHARACTERS].split()))[:300]

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


def send(
    session: requests.Session,
    method: str,
    url: str,
    body: Mapping[str, Any] | None,
    seconds: float,
    *,
    files: Mapping[str, tuple[str, bytes, str]] | None = None,
    limit: int = MAX_REPLY_BYTES,
) -> Reply:
    """Send a request once, and read the whole reply.

    Args:
        body: sent as JSON; with `files`, as the other fields of a form.
        files: name, content and type of each file of a form.
        limit: most bytes of the reply.

    Raises ReplyTimeout if the reply is not complete after `seconds`, ReplyTooLarge if it has more than `limit` bytes,
    and requests.RequestException for all other failures.
    """
    content: dict[str, Any] = {"json": body} if files is None else {"data": body, "files": files}
    timeouts = (min(_CONNECT_S, seconds), seconds)
    with _Deadline(seconds) as deadline:
        try:
            with session.request(
                method, url, timeout=timeouts, stream=True, allow_redirects=False, **content
            ) as answer:
                reply = Reply(answer.status_code, answer.headers, _read(answer, limit))
        except requests.ReadTimeout:
            raise ReplyTimeout from None
        except requests.RequestException:
            if deadline.expired:
                raise ReplyTimeout from None
            raise
        if deadline.expired:  # a reply that was cut off may look complete
            raise ReplyTimeout
        return reply


def pause_s(attempt: int, reply: Reply | None) -> float:
    """Seconds to wait after an attempt, counted from 0: as the server says, else 0, 1, 2, 4, ..."""
    if asked := reply.headers.get("Retry-After") if reply is not None else None:
        try:
            return min(Retry().parse_retry_after(asked), _MAX_PAUSE_S)
        except InvalidHeader:
            pass
    return min(_BACKOFF_S * 2**attempt, _MAX_PAUSE_S) if attempt else 0.0


def _read(answer: requests.Response, limit: int) -> bytes:
    parts: list[bytes] = []
    left = limit
    for part in answer.iter_content(_CHUNK):
        left -= len(part)
        if left < 0:
            raise ReplyTooLarge
        parts.append(part)
    return b"".join(parts)
