"""Opening S3 and web servers so that their silence ends: a word after ten seconds, one error after a time to choose.

fsspec's clients wait for minutes, several times over, and say nothing. Here each connection may be silent for half of
the limit; then the request is made once more on a new one, and when that is silent, too, the store is given up. What
counts is silence: an answer that comes slowly is waited for, however long it takes.
Invariant: whatever asks a store (commands, workers, the streaming reader) goes through `open_store`, so that there is
one limit, one wording and one place to set it.
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

VARIABLE: Final = "SPATIALDATA_STORE_TIMEOUT"
DEFAULT_S: Final = 120.0
WORD_S: Final = 10.0
"""Seconds of silence after which a word is said."""
_MOMENT_S: Final = 1.0
"""Seconds for which a store that was given up is not asked again."""
_CONNECTIONS: Final = 64
"""To S3 at a time, where the user's fsspec configuration says nothing; botocore's default is 10."""


class Unanswered(SpatialdataError):
    """A store that took a connection, or did not even that, and kept silent for as long as is waited."""


class Stalled(OSError):
    """A web server that fell silent within an answer: asking once more may help."""


def open_store(url: str, **options: Any) -> tuple[Any, str]:
    """fsspec's file system and path of a URL; `options` go to the file system.

    What it raises when a store keeps silent is `Unanswered`. Raises ImportError and ValueError as fsspec does, and
    BadInput where the environment variable `SPATIALDATA_STORE_TIMEOUT` is no number of seconds.
    """
    from fsspec.core import url_to_fs

    protocol = url.partition("://")[0]
    options = _options_for(protocol) | options
    return (_web()(**options), url) if protocol in ("http", "https") else url_to_fs(url, **options)


def store_timeout() -> float:
    """Seconds of silence after which a store is given up. Raises BadInput where the variable is no such number."""
    text = os.environ.get(VARIABLE, "")
    try:
        seconds = float(text) if text else DEFAULT_S
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise BadInput(f"{VARIABLE}={text}: give seconds above 0, such as {DEFAULT_S:.0f}")
    return seconds


def _options_for(protocol: str) -> dict[str, Any]:
    """What the user's own fsspec configuration says holds."""
    if protocol not in ("s3", "s3a", "http", "https"):
        return {}
    from fsspec.config import conf

    limit = store_timeout()
    if protocol in ("s3", "s3a"):
        ours = {
            "connect_timeout": limit / 2,
            "read_timeout": limit / 2,
            "max_pool_connections": _CONNECTIONS,
            "http_session_cls": _s3_session(),
        }
        return {"config_kwargs": ours | conf.get("s3", {}).get("config_kwargs", {})}
    import aiohttp

    silence = aiohttp.ClientTimeout(total=None, sock_connect=limit / 2, sock_read=limit / 2)
    mine = {"timeout": silence, "middlewares": (_patient,)}
    return {"client_kwargs": mine | conf.get(protocol, {}).get("client_kwargs", {})}


@dataclass
class _Host:
    """What is known of a server; used by the one thread of fsspec's event loop."""

    name: str
    heard_at: float = 0.0
    silent_at: float = 0.0
    """When a connection first was silent for too long since the last whole answer; 0: none was."""
    given_up: tuple[float, str] = (0.0, "")
    """When it last was given up, and what was said."""
    asked: int = 0
    """Requests under way."""
    told: bool = False
    word: asyncio.TimerHandle | None = None

    def heard(self, *, whole: bool) -> None:
        """Something came; `whole`: an answer is complete."""
        self.heard_at, self.told = time.monotonic(), False
        if whole:
            self.silent_at = 0.0

    @asynccontextmanager
    async def waiting(self, what: str) -> AsyncGenerator[None]:
        """While something is waited for: says so after a while of silence. Raises Unanswered for the last timeout."""
        now = time.monotonic()
        if now - self.given_up[0] < _MOMENT_S:  # those who ask at the same time need not find out for themselves
            raise Unanswered(self.given_up[1])
        if not self.asked:
            if now - self.silent_at > store_timeout():  # of long ago, or none
                self.heard(whole=True)
            self.word = asyncio.get_running_loop().call_later(WORD_S, self._say, what)
        self.asked += 1
        try:
            yield
        except TimeoutError as error:
            self._give_up(what, error)
            raise
        except Exception as error:
            if type(error).__name__ in ("ReadTimeoutError", "ConnectTimeoutError"):  # botocore's, which are no others
                self._give_up(what, error)
            raise
        finally:
            self.asked -= 1
            if not self.asked and self.word:
                self.word.cancel()

    def _say(self, what: str) -> None:
        left = self.heard_at + WORD_S - time.monotonic()
        self.word = asyncio.get_running_loop().call_later(max(left, 1.0), self._say, what)
        if left <= 0 and not self.told:
            self.told = True
            text = "waiting for %s to answer (%.0f s so far, given up after %.0f)"
            logging.getLogger(__name__).warning(text, what, time.monotonic() - self.heard_at, store_timeout())

    def _give_up(self, what: str, error: Exception) -> None:
        """Raise where this was not the first connection to be silent, one after another."""
        now, limit = time.monotonic(), store_timeout()
        self.silent_at = self.silent_at or now
        if now - self.silent_at < 0.4 * limit:
            return
        text = (
            f"{what} did not answer for {now - min(self.heard_at, self.silent_at - limit / 2):.0f} s: see that "
            f"{self.name} can be reached and is well, then run the same command again; {VARIABLE} (seconds) sets how "
            "long is waited"
        )
        self.given_up = now, text
        raise Unanswered(text) from error


class _Heard:
    """The body of an answer, which tells its host's record of every byte that comes."""

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
            raise self._stalled(f"{self._what} fell silent in the middle of its answer") from error
        self._host.heard(whole=self._content.at_eof())
        return data


@cache
def _host(address: str) -> _Host:
    return _Host(address)


async def _patient(request: Any, handler: Any) -> Any:
    """Middleware of aiohttp's client: a request to a web server."""
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
        host.heard(whole=response.content.at_eof())
        response.content = _Heard(response.content, host, what, Stalled)
        return response


@cache
def _web() -> Any:
    """fsspec's web servers, less that it takes silence for an absent file."""
    from aiohttp import ClientError
    from fsspec.implementations.http import HTTPFileSystem

    class Web(HTTPFileSystem):
        async def _info(self, url: str, **kwargs: Any) -> Any:
            try:
                return await super()._info(url, **kwargs)
            except FileNotFoundError as error:
                if isinstance(error.__cause__, Unanswered | Stalled):
                    raise error.__cause__ from None
                raise

        async def _isdir(self, path: str) -> bool:
            try:
                return bool(await self._ls(path))
            except (OSError, ValueError, ClientError) as error:  # an answer that is no list, or none of that name
                if isinstance(error, Stalled):
                    raise
                return False

    return Web


@cache
def _s3_session() -> Any:
    """aiobotocore's connections to S3, watched."""
    from aiobotocore.httpsession import AIOHTTPSession

    class Session(AIOHTTPSession):
        async def send(self, request: Any) -> Any:
            parts = urlsplit(request.url)
            host = _host(f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else ""))
            what = _s3_name(request)
            async with host.waiting(what):
                response = await (self._upload(request) if request.body else super().send(request))
            host.heard(whole=response.raw.content.at_eof())
            response.raw.content = _Heard(response.raw.content, host, what, None)
            return response

        async def _upload(self, request: Any) -> Any:
            """aiohttp counts silence from when all is sent; a server may not even ask for that, or take it."""
            if isinstance(request.body, bytes | bytearray):
                request.body = io.BytesIO(request.body)
            body = getattr(request.body, "_raw", request.body)  # within what chunks it with a checksum
            length = request.headers.get("X-Amz-Decoded-Content-Length") or request.headers.get("Content-Length") or 0
            had, sending = 0, asyncio.ensure_future(super().send(request))
            try:
                while not (await asyncio.wait({sending}, timeout=store_timeout() / 2))[0]:
                    if (sent := body.tell()) >= int(length):
                        break
                    if sent == had:
                        raise TimeoutError(f"{request.url} takes no more")
                    had = sent
                return await sending
            finally:
                sending.cancel()

    return Session


def _s3_name(request: Any) -> str:
    """What a request to S3 asks for, as users write it."""
    parts = urlsplit(request.url)
    bucket = (getattr(request, "context", None) or {}).get("s3_redirect", {}).get("bucket", "")
    key = unquote(parts.path).lstrip("/")
    if not bucket:
        return f"s3://{key}"
    key = key.removeprefix(bucket).lstrip("/") or parse_qs(parts.query).get("prefix", [""])[0]
    return f"s3://{bucket}/{key}"
