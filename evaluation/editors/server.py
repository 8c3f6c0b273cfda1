"""An editor behind OpenAI's image-edit API (`POST /v1/images/edits`): a hosted service, vLLM, SGLang, LocalAI, ...

Invariant: a server that refuses one request fails one sample. One that is busy or away is asked again for a limited
time; then the run stops, and no sample counts as failed for it.
"""

import base64
import os
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

from ...shards.codecs import U8, CodecError, decode_image
from ...shards.errors import BadInput
from ...shards.extras import require
from ...shards.redact import redact, register_secret, register_url
from .editor import Base, EditFailed, EditorGone, Task

if TYPE_CHECKING:
    from ...annotators.vlm.exchange import Reply

PREFIX: Final = "openai:"
KEY_VARIABLE: Final = "OPENAI_API_KEY"
ATTEMPTS: Final = 4
MAX_REPLY_BYTES: Final = 128 << 20
"""A base64 PNG of 4096 x 4096 pixels has up to 67 MB."""
_MAX_WORKERS: Final = 64
_NO_SEED: Final = "api.openai.com"
"""This service refuses requests with a seed."""


class Server(Base):
    """Sends source and instruction as a form, and reads the first image of the answer (`b64_json` or `url`).

    Args:
        text: `openai:URL#model`, such as `openai:http://localhost:8000/v1#Qwen-Image-Edit`.
        timeout_s: seconds that one request may take.

    The key, if the server needs one, is read from `OPENAI_API_KEY`. Raises BadInput for another text.
    """

    most_workers = _MAX_WORKERS

    def __init__(self, text: str, timeout_s: float) -> None:
        url, _, self._model = text.removeprefix(PREFIX).partition("#")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc or not self._model:
            raise BadInput(f"--with {text!r}: give openai:URL#model, such as openai:http://localhost:8000/v1#my-model")
        register_url(url)
        base = url.rstrip("/")
        self._url = f"{base if base.endswith('/v1') else f'{base}/v1'}/images/edits"
        self._seeded = parts.hostname != _NO_SEED
        self._timeout_s = timeout_s
        self.description = redact(text)

    def setup(self) -> None:
        require("requests", "build")
        from ...annotators.vlm.exchange import open_session

        self._session = open_session(_MAX_WORKERS)
        self._downloads = open_session(_MAX_WORKERS)  # the key is for the server, not for where it puts its images
        if key := os.environ.get(KEY_VARIABLE, ""):
            register_secret(key)
            self._session.headers["Authorization"] = f"Bearer {key}"

    def edit(self, task: Task) -> U8:
        fields: dict[str, Any] = {"model": self._model, "prompt": task.instruction, "n": "1"}
        if self._seeded:
            fields["seed"] = str(task.seed)
        files = {"image": ("source.png", task.path.read_bytes(), "image/png")}
        reply = self._send(self._session, "POST", self._url, fields, files)
        self._check_status(reply)
        data = self._image_of(reply)
        try:
            return decode_image(data)
        except CodecError as error:
            raise EditFailed(f"the server's image cannot be read ({error})") from None

    def _image_of(self, reply: "Reply") -> bytes:
        try:
            entry = reply.json()["data"][0]
            encoded, url = entry.get("b64_json"), entry.get("url")
            if encoded:
                return base64.b64decode(encoded)
            if str(url).startswith("data:"):
                return base64.b64decode(str(url).partition(",")[2])
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            raise EditFailed(f"the server's answer has no image: {reply.reason}") from None
        if not url:
            raise EditFailed(f"the server's answer has no image: {reply.reason}")
        found = self._send(self._downloads, "GET", urljoin(self._url, str(url)))
        if found.status != 200:
            raise EditFailed(f"the server's image at {redact(str(url))[:200]} cannot be loaded (status {found.status})")
        return found.content

    def _send(self, session: Any, method: str, url: str, fields: Any = None, files: Any = None) -> "Reply":
        """Send a request; retry while the server is busy or away. Raises EditFailed, EditorGone."""
        from requests import RequestException

        from ...annotators.vlm.exchange import BUSY, ReplyTimeout, ReplyTooLarge, pause_s, send

        problem = ""
        for attempt in range(ATTEMPTS):
            reply = None
            try:
                reply = send(session, method, url, fields, self._timeout_s, files=files, limit=MAX_REPLY_BYTES)
            except ReplyTooLarge:
                raise EditFailed(f"the server's answer has more than {MAX_REPLY_BYTES >> 20} MiB") from None
            except ReplyTimeout:
                raise EditFailed(f"the server did not answer within {self._timeout_s:g} s") from None
            except RequestException as error:
                problem = redact(" ".join(str(error).split()))[-160:]
            if reply is not None and reply.status not in BUSY:
                return reply
            if attempt + 1 < ATTEMPTS:
                time.sleep(pause_s(attempt, reply))
            elif reply is not None:
                problem = f"it answers {reply.status}: {reply.reason}"
        raise EditorGone(
            f"the server at {redact(self._url)} cannot be used ({problem}): start it, and rerun the command to resume"
        )

    def _check_status(self, reply: "Reply") -> None:
        if 200 <= reply.status < 300:
            return
        where = redact(self._url)
        if reply.status in (401, 403):
            raise EditorGone(f"{where} requires a key ({reply.status}: {reply.reason}): set {KEY_VARIABLE}, and rerun")
        if reply.status in (404, 405) or 300 <= reply.status < 400:
            raise EditorGone(
                f"{where} has no model {self._model!r} or is no image-edit API ({reply.status}: {reply.reason}): check "
                "URL and model"
            )
        raise EditFailed(f"the server refused the request ({reply.status}: {reply.reason})")
