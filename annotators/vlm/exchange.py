"""One exchange with a server, and its end: limits on the whole of an answer, its time and its size.

A socket's own time-out counts from one byte to the next, so a server that drips bytes would never be given up; and an
answer is read whole, so one without an end would fill the memory. Invariant: `send` returns or raises within the limit,
whatever the server does, and holds no more than MOST_BYTES of what it says.
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

MOST_BYTES: Final = 16 << 20
"""Of an answer, decoded: a chat answer has a few kilobytes, the longest list of models a few megabytes."""
_CHUNK: Final = 1 << 16
_CONNECT_S: Final = 10.0
_exchange = threading.local()
"""`.watch`: of the exchange that this thread has begun."""


class TooSlow(Exception):
    """The answer was not whole when its time was over."""


class TooLong(Exception):
    """The answer has more than MOST_BYTES."""


@dataclass(frozen=True)
class Reply:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    text: str

    def json(self) -> Any:
        """Raises ValueError where it is no JSON, or JSON that is nested without an end."""
        try:
            return json.loads(self.text)
        except RecursionError as error:
            raise ValueError("too deeply nested") from error


@dataclass
class _Watch:
    """Cuts the connection of one exchange when its time is over: whoever reads from it then meets its end."""

    seconds: float
    expired: bool = False
    _socket: Any = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._timer = threading.Timer(self.seconds, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> "_Watch":
        _exchange.watch = self
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        _exchange.watch = None
        with self._lock:
            self._socket = None  # from here on it may serve another exchange

    def follow(self, connection: HTTPConnection) -> None:
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
            with suppress(OSError):  # it is closed already
                self._socket.shutdown(SHUT_RDWR)


class _Followed(HTTPConnection):
    def getresponse(self) -> Any:
        _follow(self)
        return super().getresponse()


class _FollowedTls(HTTPSConnection):
    def getresponse(self) -> Any:
        _follow(self)
        return super().getresponse()


def _follow(connection: HTTPConnection) -> None:
    watch: _Watch | None = getattr(_exchange, "watch", None)
    if watch is not None:
        watch.follow(connection)


class _Pool(HTTPConnectionPool):
    ConnectionCls: Any = _Followed


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls: Any = _FollowedTls


class _Adapter(HTTPAdapter):
    """Connections of its own, also those through a proxy."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _follow_pools(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        _follow_pools(manager)
        return manager


def _follow_pools(manager: Any) -> None:
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


def open_session(connections: int) -> requests.Session:
    """A session for `send`, of so many connections that are kept."""
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter(pool_maxsize=connections, max_retries=0))
    return session


def send(session: requests.Session, method: str, url: str, body: Mapping[str, Any] | None, seconds: float) -> Reply:
    """Send once; the answer, read whole.

    Raises TooSlow where the answer is not whole after `seconds`, TooLong where it has more than MOST_BYTES, and
    requests.RequestException for all else.
    """
    patience = (min(_CONNECT_S, seconds), seconds)
    with _Watch(seconds) as watch:
        try:
            with session.request(
                method, url, json=body, timeout=patience, stream=True, allow_redirects=False
            ) as answer:
                reply = Reply(answer.status_code, answer.headers, _read(answer).decode("utf-8", "replace"))
        except requests.ReadTimeout:
            raise TooSlow from None
        except requests.RequestException:
            if watch.expired:
                raise TooSlow from None
            raise
        if watch.expired:  # what was cut may look like an answer that ends with its connection
            raise TooSlow
        return reply


def _read(answer: requests.Response) -> bytes:
    parts: list[bytes] = []
    left = MOST_BYTES
    for part in answer.iter_content(_CHUNK):
        left -= len(part)
        if left < 0:
            raise TooLong
        parts.append(part)
    return b"".join(parts)
