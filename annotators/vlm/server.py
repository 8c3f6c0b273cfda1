"""A model behind any server that speaks OpenAI's chat completions (vLLM, SGLang, llama.cpp, a hosted service).

Invariant: an answer that arrived is handed on whatever happens to the others. A busy, failing or absent server is
waited for a bounded time and then stops the run; a request that the server refuses costs that request alone.
"""

import base64
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from threading import Event
from typing import TYPE_CHECKING, Any, Final

from ...shards.codecs import U8, CodecError, encode_image
from ...shards.errors import BadInput, SpatialdataError
from ...shards.redact import redact, redact_registered, register_secret, register_url
from .client import UNREADABLE, Refused, Request, seed_of
from .images import messages
from .options import VlmOptions

if TYPE_CHECKING:
    from requests import Session

    from .exchange import Reply

_BUSY: Final = (408, 425, 429, 500, 502, 503, 504)
_LIST_S: Final = 60.0
"""For the list of its models, at most: no model has to run for it."""
_BACKOFF_S: Final = 0.5
"""The first retry comes at once, the next after twice this, then four times, and so on; or when the server says."""
_LONGEST_S: Final = 60.0
_MOST_TOLD: Final = 20_000
"""Characters of an answer that are looked at for what to tell of it."""


class ServerBackend:
    """Chat completions with base64 PNG images and `response_format: json_schema`."""

    def __init__(self, options: VlmOptions) -> None:
        """Raises BadInput where the server cannot be reached, wants another key, or does not have the model."""
        self._options = options
        self._url = options.base_url.rstrip("/")
        register_url(self._url)
        self._session = _session(options)
        self.model, self.revision = options.model, options.revision
        self._check_model()

    def stream(self, requests: Sequence[Request], seed: int) -> Iterator[tuple[int, str | Refused]]:
        """Answers as they come; see `annotators.vlm.client.Backend`."""
        ended = Event()

        def answer(request: Request) -> str | Refused:
            if ended.is_set():
                raise CancelledError
            try:
                return self._answer(request, seed)
            except BaseException:
                ended.set()  # before this thread takes the next request to a server that fails
                raise

        failure: BaseException | None = None
        with ThreadPoolExecutor(self._options.in_flight) as threads:
            try:
                waiting = {threads.submit(answer, request): index for index, request in enumerate(requests)}
                for done in as_completed(waiting):
                    error = done.exception()
                    if error is None:
                        yield waiting[done], done.result()
                    elif failure is None and not isinstance(error, CancelledError):
                        failure = error
            finally:
                ended.set()
        if failure is not None:
            raise failure

    def _answer(self, request: Request, seed: int) -> str | Refused:
        try:
            chat = messages(request, self._options.image_side, _part)
        except CodecError as error:
            return Refused(f"an image cannot be read: {error}", UNREADABLE)
        body = {
            "model": self.model,
            "messages": chat,
            "temperature": self._options.temperature_of(seed),
            "max_tokens": self._options.max_tokens,
            "seed": seed_of(request, seed),
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": dict(request.schema)},
            },
        }
        reply = self._send("POST", "chat/completions", body)
        if reply.status in (400, 413, 422):
            return Refused(f"the server at {self._url} refused the request: {_reason(reply)}")
        self._check_status(reply)
        return self._text(reply)

    def _text(self, reply: "Reply") -> str:
        try:
            # A model that declines leaves `content` null: an answer that does not parse, like any other.
            # It may say again what it was sent, its key among that.
            return redact_registered(str(reply.json()["choices"][0]["message"].get("content") or ""))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            told = redact(reply.text[:_MOST_TOLD])[:120]
            raise SpatialdataError(
                f"{self._url} does not speak OpenAI's chat completions (it answered {told!r}): check "
                f"{self._options.where}.base_url"
            ) from None

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> "Reply":
        """Send, again while the server is busy, away or silent. Raises SpatialdataError after `send_attempts`."""
        from requests import RequestException

        from .exchange import MOST_BYTES, TooLong, TooSlow, send

        options = self._options
        patience = options.timeout_s if body else min(options.timeout_s, _LIST_S)
        problem = ""
        for attempt in range(options.send_attempts):
            try:
                reply = send(self._session, method, f"{self._url}/{path}", body, patience)
            except TooLong:
                raise SpatialdataError(
                    f"the server at {self._url} answers with more than {MOST_BYTES >> 20} MiB: check "
                    f"{options.where}.base_url and what runs there; answers so far are kept"
                ) from None
            except TooSlow:
                reply, problem = None, ""
            except RequestException as error:
                reply, problem = None, redact(" ".join(str(error).split()))[-160:]
            if reply is not None and reply.status not in _BUSY:
                return reply
            if attempt + 1 < options.send_attempts:
                time.sleep(_pause(attempt, reply))
            elif reply is not None:
                return reply
        if not problem:
            raise SpatialdataError(
                f"the server at {self._url} hangs: no answer in {patience:g} s, {options.send_attempts} times; "
                f"restart it, or raise {options.where}.timeout_s where its model is that slow; answers so far are kept"
            )
        raise SpatialdataError(
            f"the server at {self._url} cannot be reached, {options.send_attempts} times ({problem}): start it, or set "
            f"{options.where}.base_url; answers so far are kept"
        )

    def _check_status(self, reply: "Reply") -> None:
        if 200 <= reply.status < 300:
            return
        where, reason = self._options.where, _reason(reply)
        if 300 <= reply.status < 400:
            raise BadInput(
                f"the server at {self._url} sends elsewhere ({reply.status}, to "
                f"{reply.headers.get('Location', 'no address')}): set {where}.base_url to where the model is"
            )
        if reply.status in (401, 403):
            raise BadInput(
                f"the server at {self._url} wants a key ({reply.status}: {reason}): put it into an environment "
                f"variable of the workers and its name into {where}.api_key_env"
            )
        if reply.status == 404:
            raise BadInput(
                f"the server at {self._url} has no model '{self.model}', or the address is wrong ({reason}): check "
                f"{where}.model and {where}.base_url"
            )
        raise SpatialdataError(
            f"the server at {self._url} still answers {reply.status} after {self._options.send_attempts} tries "
            f"({reason}): run the same command again when it is well, answers so far are kept"
        )

    def _check_model(self) -> None:
        try:
            reply = self._send("GET", "models")
        except SpatialdataError as error:
            raise BadInput(str(error)) from None
        if reply.status in (404, 405, 501):
            return  # a server without the list; the first request tells
        self._check_status(reply)
        try:
            served = [str(entry["id"]) for entry in reply.json()["data"]]
        except (ValueError, KeyError, TypeError):
            return
        if self.model not in served:
            shown = ", ".join(served[:8]) or "none"
            raise BadInput(
                f"the server at {self._url} does not have model '{self.model}' (it has: {shown}): set "
                f"{self._options.where}.model"
            )


def _pause(attempt: int, reply: "Reply | None") -> float:
    """Seconds to wait behind an attempt, counted from 0: what the server asks for, else nothing, then 1, 2, 4, ..."""
    from urllib3.exceptions import InvalidHeader
    from urllib3.util import Retry

    if asked := reply.headers.get("Retry-After") if reply is not None else None:
        try:
            return min(Retry().parse_retry_after(asked), _LONGEST_S)
        except InvalidHeader:
            pass
    return min(_BACKOFF_S * 2**attempt, _LONGEST_S) if attempt else 0.0


def _session(options: VlmOptions) -> "Session":
    from .exchange import open_session

    session = open_session(options.in_flight)
    if options.api_key_env:
        key = os.environ.get(options.api_key_env, "")
        if not key:
            raise BadInput(
                f"{options.where}.api_key_env names {options.api_key_env}, which is not set here: set it in the "
                "environment of the workers"
            )
        register_secret(key)
        session.headers["Authorization"] = f"Bearer {key}"
    return session


def _reason(reply: "Reply") -> str:
    """What the server says of an error, in the forms that servers have."""
    try:
        told = reply.json()
    except ValueError:
        told = reply.text[:_MOST_TOLD]
    for name in ("error", "message", "detail"):
        told = told.get(name, told) if isinstance(told, dict) else told
    text = told if isinstance(told, str) else json.dumps(told)
    return redact(" ".join(text[:_MOST_TOLD].split()))[:300]


def _part(rgb: U8) -> dict[str, Any]:
    data = base64.b64encode(encode_image(rgb, "png")).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
