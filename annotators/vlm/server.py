"""A model on any server with OpenAI's chat completions API (vLLM, SGLang, llama.cpp, a hosted service).

Invariant: an answer that arrived is yielded even if other requests fail. If the server is busy, failing or absent, the
backend retries for a limited time and then stops the run. If the server rejects a request, only that request fails.
"""

import base64
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from threading import Event
from typing import TYPE_CHECKING, Any, Final

from ...shards.codecs import U8, CodecError, encode_image
from ...shards.errors import BadInput, SpatialdataError
from ...shards.redact import redact, redact_registered, register_secret, register_url
from .client import UNREADABLE_IMAGE, RejectedRequest, Request, seed_of
from .images import messages
from .options import VlmOptions

if TYPE_CHECKING:
    from requests import Session

    from .exchange import Reply

_MODELS_TIMEOUT_S: Final = 60.0
"""Longest time for the list of models, which needs no inference."""


class ServerBackend:
    """Chat completions with base64 PNG images and `response_format: json_schema`."""

    def __init__(self, options: VlmOptions) -> None:
        """Raises BadInput if the server cannot be reached, requires another key, or does not have the model."""
        self._options = options
        self._url = options.base_url.rstrip("/")
        register_url(self._url)
        self._session = _session(options)
        self.model, self.revision = options.model, options.revision
        self._check_model()

    def stream(self, requests: Sequence[Request], seed: int) -> Iterator[tuple[int, str | RejectedRequest]]:
        """Yield answers as they arrive; see `annotators.vlm.client.Backend`."""
        ended = Event()

        def answer(request: Request) -> str | RejectedRequest:
            if ended.is_set():
                raise CancelledError
            try:
                return self._answer(request, seed)
            except BaseException:
                ended.set()  # before this thread sends its next request to a failing server
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

    def _answer(self, request: Request, seed: int) -> str | RejectedRequest:
        try:
            chat = messages(request, self._options.image_side, _part)
        except CodecError as error:
            return RejectedRequest(f"an image cannot be read: {error}", UNREADABLE_IMAGE)
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
            return RejectedRequest(f"the server at {self._url} refused the request: {reply.reason}")
        self._check_status(reply)
        return self._text(reply)

    def _text(self, reply: "Reply") -> str:
        from .exchange import SCANNED_CHARACTERS

        try:
            # If a model declines to answer, `content` is null: an empty answer, which does not parse.
            # A server may repeat what it was sent, including the key.
            return redact_registered(str(reply.json()["choices"][0]["message"].get("content") or ""))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            content = redact(reply.text[:SCANNED_CHARACTERS])[:120]
            raise SpatialdataError(
                f"{self._url} does not implement OpenAI's chat completions API (it answered {content!r}): check "
                f"{self._options.where}.base_url"
            ) from None

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> "Reply":
        """Send a request; retry while the server is busy, absent or silent.

        Raises SpatialdataError after `send_attempts` attempts.
        """
        from requests import RequestException

        from .exchange import BUSY, MAX_REPLY_BYTES, ReplyTimeout, ReplyTooLarge, pause_s, send

        options = self._options
        timeout_s = options.timeout_s if body else min(options.timeout_s, _MODELS_TIMEOUT_S)
        problem = ""
        for attempt in range(options.send_attempts):
            try:
                reply = send(self._session, method, f"{self._url}/{path}", body, timeout_s)
            except ReplyTooLarge:
                raise SpatialdataError(
                    f"the server at {self._url} answers with more than {MAX_REPLY_BYTES >> 20} MiB: check "
                    f"{options.where}.base_url and which server runs there; answers so far are kept"
                ) from None
            except ReplyTimeout:
                reply, problem = None, ""
            except RequestException as error:
                reply, problem = None, redact(" ".join(str(error).split()))[-160:]
            if reply is not None and reply.status not in BUSY:
                return reply
            if attempt + 1 < options.send_attempts:
                time.sleep(pause_s(attempt, reply))
            elif reply is not None:
                return reply
        if not problem:
            raise SpatialdataError(
                f"the server at {self._url} did not answer within {timeout_s:g} s ({_attempts(options)}): restart it, "
                f"or increase {options.where}.timeout_s if its model is that slow; answers so far are kept"
            )
        raise SpatialdataError(
            f"the server at {self._url} cannot be reached ({_attempts(options)}; {problem}): start it, or set "
            f"{options.where}.base_url; answers so far are kept"
        )

    def _check_status(self, reply: "Reply") -> None:
        if 200 <= reply.status < 300:
            return
        where, reason = self._options.where, reply.reason
        if 300 <= reply.status < 400:
            raise BadInput(
                f"the server at {self._url} redirects to {reply.headers.get('Location', 'no address')} (status "
                f"{reply.status}): set {where}.base_url to the address of the model"
            )
        if reply.status in (401, 403):
            raise BadInput(
                f"the server at {self._url} requires a key ({reply.status}: {reason}): set it in an environment "
                f"variable of the workers, and set {where}.api_key_env to the name of the variable"
            )
        if reply.status == 404:
            raise BadInput(
                f"the server at {self._url} has no model '{self.model}', or the address is wrong ({reason}): check "
                f"{where}.model and {where}.base_url"
            )
        raise SpatialdataError(
            f"the server at {self._url} still answers {reply.status} after {_attempts(self._options)} ({reason}): "
            "rerun the same command when the server has recovered; answers so far are kept"
        )

    def _check_model(self) -> None:
        try:
            reply = self._send("GET", "models")
        except SpatialdataError as error:
            raise BadInput(str(error)) from None
        if reply.status in (404, 405, 501):
            return  # the server has no list of models: the first request shows whether it has this one
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


def _attempts(options: VlmOptions) -> str:
    return f"{options.send_attempts} attempt{'s' if options.send_attempts > 1 else ''}"


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


def _part(rgb: U8) -> dict[str, Any]:
    data = base64.b64encode(encode_image(rgb, "png")).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
