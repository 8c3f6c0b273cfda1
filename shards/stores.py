"""Opens S3 and web servers with a timeout: a warning after ten seconds of silence, an error after a configurable limit.

fsspec's clients retry several times, wait for minutes each time, and log nothing. Here each connection may be silent
for half of the limit. Then the request is sent once more on a new connection, and if that one is silent, too, the
request fails. Only silence counts: a slow response is never interrupted.
Invariant: all access to stores (commands, workers, the streaming reader) goes through `open_store`, so that there is
one limit, one message and one setting.
"""

import asyncio
import io
import logging
import os
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from .errors import BadInput, SpatialdataError
from .extras import install_command

TIMEOUT_VARIABLE: Final = "SPATIALDATA_STORE_TIMEOUT"
DEFAULT_TIMEOUT_S: Final = 120.0
WARNING_AFTER_S: Final = 10.0
"""Seconds of silence after which a warning is logged."""
_FAIL_FAST_S: Final = 1.0
"""For this many seconds after a timeout, new requests to the same store fail at once."""
_EXTRAS: Final = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
"""Protocol: the extra that holds its package."""
_CONNECTIONS: Final = 64
"""Concurrent connections to S3, unless the user's fsspec configuration sets a number; botocore's default is 10."""


class StoreTimeout(SpatialdataError):
    """A store did not respond within the time limit."""


class ResponseStalled(OSError):
    """A web server stopped responding in the middle of a response: a retry may help."""


def open_store(url: str, **options: Any) -> tuple[Any, str]:
    """fsspec file system and path of a URL; `options` are passed to the file system.

    The file system raises `StoreTimeout` when a store does not respond in time. Raises ImportError and ValueError like
    fsspec, the former with the command that installs what the store needs, and BadInput where the environment variable
    `SPATIALDATA_STORE_TIMEOUT` is not a number of seconds.
    """
    from fsspec.core import url_to_fs

    protocol = url.partition("://")[0]
    try:
        options = _options_for(protocol) | options
        return (_web()(**options), url) if protocol in ("http", "https") else url_to_fs(url, **options)
    except ImportError as error:
        if protocol in _EXTRAS:
            raise ImportError(
                f"{protocol}:// needs a package that is not installed: run `{install_command(_EXTRAS[protocol])}`"
            ) from error
        raise


def store_timeout() -> float:
    """Seconds of silence after which a request fails. Raises BadInput where the environment variable is invalid."""
    text = os.environ.get(TIMEOUT_VARIABLE, "")
    try:
        seconds = float(text) if text else DEFAULT_TIMEOUT_S
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise BadInput(
            f"{TIMEOUT_VARIABLE}={text}: must be a number of seconds above 0, such as {DEFAULT_TIMEOUT_S:.0f}"
        )
    return seconds


def _options_for(protocol: str) -> dict[str, Any]:
    """Options of the file system; the user's own fsspec configuration takes precedence."""
    if protocol not in ("s3", "s3a", "http", "https"):
        return {}
    from fsspec.config import conf

    limit = store_timeout()
    if protocol in ("s3", "s3a"):
        defaults = {
            "connect_timeout": limit / 2,
            "read_timeout": limit / 2,
            "max_pool_connections": _CONNECTIONS,
            "http_session_cls": _s3_session(),
        }
        return {"config_kwargs": defaults | conf.get("s3", {}).get("config_kwargs", {})}
    import aiohttp

    silence = aiohttp.ClientTimeout(total=None, sock_connect=limit / 2, sock_read=limit / 2)
    defaults = {"timeout": silence, "middlewares": (_watch_request,)}
    return {"client_kwargs": defaults | conf.get(protocol, {}).get("client_kwargs", {})}


@dataclass
class _Host:
    """The state of a server; used only by the thread of fsspec's event loop."""

    name: str
    received_at: float = 0.0
    first_timeout_at: float = 0.0
    """When a connection first timed out since the last complete response; 0: none did."""
    failure: tuple[float, str] = (0.0, "")
    """When a request last failed for good, and its message."""
    pending: int = 0
    """Requests in progress."""
    warned: bool = False
    timer: asyncio.TimerHandle | None = None

    def received(self, *, complete: bool) -> None:
        """Note that data arrived; `complete`: the response is complete."""
        self.received_at, self.warned = time.monotonic(), False
        if complete:
            self.first_timeout_at = 0.0

    @asynccontextmanager
    async def waiting(self, what: str) -> AsyncGenerator[None]:
        """Wrap a wait for `what`: logs a warning after a while of silence. Raises StoreTimeout for the last timeout."""
        now = time.monotonic()
        if now - self.failure[0] < _FAIL_FAST_S:  # concurrent requests need not time out one by one
            raise StoreTimeout(self.failure[1])
        if not self.pending:
            if now - self.first_timeout_at > store_timeout():  # none, or long ago
                self.received(complete=True)
            self.timer = asyncio.get_running_loop().call_later(WARNING_AFTER_S, self._warn, what)
        self.pending += 1
        try:
            yield
        except TimeoutError as error:
            self._count_timeout(what, error)
            raise
        except Exception as error:
            # The timeouts of botocore do not derive from TimeoutError.
            if type(error).__name__ in ("ReadTimeoutError", "ConnectTimeoutError"):
                self._count_timeout(what, error)
            raise
        finally:
            self.pending -= 1
            if not self.pending and self.timer:
                self.timer.cancel()

    def _warn(self, what: str) -> None:
        left = self.received_at + WARNING_AFTER_S - time.monotonic()
        self.timer = asyncio.get_running_loop().call_later(max(left, 1.0), self._warn, what)
        if left <= 0 and not self.warned:
            self.warned = True
            text = "waiting for %s to respond (%.0f s so far, timeout after %.0f s)"
            logging.getLogger(__name__).warning(text, what, time.monotonic() - self.received_at, store_timeout())

    def _count_timeout(self, what: str, error: Exception) -> None:
        """Raise StoreTimeout if an earlier connection timed out, too, without a complete response in between."""
        now, limit = time.monotonic(), store_timeout()
        self.first_timeout_at = self.first_timeout_at or now
        if now - self.first_timeout_at < 0.4 * limit:
            return
        text = (
            f"{what} did not respond for {now - min(self.received_at, self.first_timeout_at - limit / 2):.0f} s: check "
            f"that {self.name} is up and can be reached, then rerun the command; {TIMEOUT_VARIABLE} (seconds) sets the "
            "timeout"
        )
        self.failure = now, text
        raise StoreTimeout(text) from error


class _WatchedBody:
    """The body of a response; reports received data to its `_Host`."""

    def __init__(self, content: Any, host: _Host, what: str, stalled: type[Exception] | None) -> None:
        self._content = content
        self._host = host
        self._what = what
        self._stalled = stalled

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def read(self, size: int = -1) -> bytes:
        if size >= 0:
            return await self._some(self._content.read, size)
        parts: list[bytes] = []
        while part := await self._some(self._content.readany):
            parts.append(part)
        return b"".join(parts)

    async def _some(self, read: Any, *size: int) -> bytes:
        try:
            async with self._host.waiting(self._what):
                data = await read(*size)
        except TimeoutError as error:
            if self._stalled is None:
                raise
            raise self._stalled(f"{self._what} stopped responding in the middle of a response") from error
        self._host.received(complete=self._content.at_eof())
        return data


@cache
def _host(address: str) -> _Host:
    return _Host(address)


async def _watch_request(request: Any, handler: Any) -> Any:
    """aiohttp client middleware: watches a request to a web server, and repeats it after the first timeout."""
    url = request.url
    host = _host(f"{url.scheme}://{url.host}:{url.port}")
    what = f"{url.scheme}://{url.host}{f':{url.explicit_port}' if url.explicit_port else ''}{url.path}"
    while True:
        try:
            async with host.waiting(what):
                response = await handler(request)
        except TimeoutError:
            if request.method not in ("GET", "HEAD"):
                raise
            continue
        host.received(complete=response.content.at_eof())
        response.content = _WatchedBody(response.content, host, what, ResponseStalled)
        return response


@cache
def _web() -> Any:
    """fsspec's HTTP file system, which otherwise reports a timeout as a missing file."""
    from aiohttp import ClientError
    from fsspec.implementations.http import HTTPFileSystem

    class Web(HTTPFileSystem):
        async def _info(self, url: str, **kwargs: Any) -> Any:
            try:
                return await super()._info(url, **kwargs)
            except FileNotFoundError as error:
                if isinstance(error.__cause__, StoreTimeout | ResponseStalled):
                    raise error.__cause__ from None
                raise

        async def _isdir(self, path: str) -> bool:
            try:
                return bool(await self._ls(path))
            except (OSError, ValueError, ClientError) as error:  # not a listing, or not found
                if isinstance(error, ResponseStalled):
                    raise
                return False

    return Web


@cache
def _s3_session() -> Any:
    """aiobotocore's HTTP session for S3, with watched requests."""
    from aiobotocore.httpsession import AIOHTTPSession

    class Session(AIOHTTPSession):
        async def send(self, request: Any) -> Any:
            parts = urlsplit(request.url)
            host = _host(f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else ""))
            what = _s3_name(request)
            async with host.waiting(what):
                response = await (self._upload(request) if request.body else super().send(request))
            host.received(complete=response.raw.content.at_eof())
            response.raw.content = _WatchedBody(response.raw.content, host, what, None)
            return response

        async def _upload(self, request: Any) -> Any:
            """Send with a timeout: aiohttp's own starts after sending, but a server may stop accepting data before."""
            if isinstance(request.body, bytes | bytearray):
                request.body = io.BytesIO(request.body)
            body = getattr(request.body, "_raw", request.body)  # inside the wrapper that adds chunk checksums
            length = request.headers.get("X-Amz-Decoded-Content-Length") or request.headers.get("Content-Length") or 0
            sent_before, sending = 0, asyncio.ensure_future(super().send(request))
            try:
                while not (await asyncio.wait({sending}, timeout=store_timeout() / 2))[0]:
                    if (sent := body.tell()) >= int(length):
                        break
                    if sent == sent_before:
                        raise TimeoutError(f"{request.url} accepts no more data")
                    sent_before = sent
                return await sending
            finally:
                sending.cancel()

    return Session


def _s3_name(request: Any) -> str:
    """The `s3://` URL of a request to S3."""
    parts = urlsplit(request.url)
    bucket = (getattr(request, "context", None) or {}).get("s3_redirect", {}).get("bucket", "")
    key = unquote(parts.path).lstrip("/")
    if not bucket:
        return f"s3://{key}"
    key = key.removeprefix(bucket).lstrip("/") or parse_qs(parts.query).get("prefix", [""])[0]
    return f"s3://{bucket}/{key}"
