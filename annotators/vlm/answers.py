"""From requests to checked values, paying for each answer once.

Invariant: an answer is in the cache before anything is made of it, under a name that says all that shaped it (model,
revision, texts, image bytes, schema, sampling, seed). So a build that was killed asks only what nobody answered yet,
and gives the same values. An entry that cannot be read counts as absent.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from ...shards.layout import filesystem, join
from ...shards.redact import redact_values
from ...shards.sample import Reject
from ...shards.writer import publish_bytes
from .client import Backend, Refused, Request

T = TypeVar("T")

MALFORMED: Final = "malformed_answer"
_TRANSFERS: Final = 16
"""Reads and writes of the cache at once: on an object store each takes tens of milliseconds."""
_TOLD: Final = 160
"""Characters of a malformed answer's end that its reject shows."""


@dataclass(frozen=True)
class Answered(Generic[T]):
    """A parsed answer.

    `counts` belong into the sample's `Row.counts`: answers_asked, answers_cached and, of both, answers_retried.
    """

    value: T
    counts: Mapping[str, int]


class AnswerCache:
    """Answers in a folder, one small JSON each, `<url>/ab/cd/<sha256>.json`.

    Args:
        url: any fsspec URL; made when first written to.
        settings: what shapes an answer beside model and request (`VlmOptions.settings`).
    """

    def __init__(self, url: str, settings: Mapping[str, Any]) -> None:
        self.url = url
        self._settings: dict[str, Any] = redact_values(settings)

    def name(self, backend: Backend, request: Request, seed: int) -> str:
        """64 hex digits over all that shapes the answer; `Request.key` does not."""
        content = {
            "model": backend.model,
            "revision": backend.revision,
            "settings": self._settings,
            "system": request.system,
            "text": request.text,
            "images": [hashlib.sha256(image).hexdigest() for image in request.images],
            "schema": json.dumps(request.schema),  # with its order, in which the answer is written
            "seed": seed,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def read(self, name: str) -> str | None:
        """The answer's text; None where there is none, or none that is whole."""
        fs, path = filesystem(self._url_of(name))
        try:
            entry = json.loads(fs.cat_file(path))
        except (FileNotFoundError, ValueError):
            return None
        whole = isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get("text"), str)
        return str(entry["text"]) if whole else None

    def write(self, name: str, text: str, backend: Backend, request: Request, seed: int) -> None:
        """Keep an answer, whole or not at all; what is beside its text is for people."""
        entry = {"name": name, "text": text, "model": backend.model, "revision": backend.revision}
        entry |= {"key": request.key, "seed": seed}
        publish_bytes(json.dumps(entry, sort_keys=True).encode(), self._url_of(name))

    def _url_of(self, name: str) -> str:
        return join(self.url, name[:2], name[2:4], f"{name}.json")


def ask(
    backend: Backend,
    requests: Sequence[Request],
    parse: Callable[[str], T],
    *,
    attempts: int,
    cache: AnswerCache | None = None,
) -> list[Answered[T] | Reject]:
    """A parsed answer or a reject for each request, in order.

    Args:
        parse: from an answer's text to its value; raises ValueError (pydantic's ValidationError is one) where the
            text is not what was asked for.
        attempts: how often a request is asked; attempt i has seed i, from 0.
        cache: where answers are kept, well-formed or not; None: nowhere.

    Rejects: `malformed_answer` with the last problem, `request_refused` with the server's reason, `unreadable_image`;
    all with counts.
    Raises SpatialdataError where the model cannot be reached; what was answered before is kept.
    """
    counts = [Counter[str]() for _ in requests]
    results: dict[int, Answered[T] | Reject] = {}
    waiting = list(range(len(requests)))
    for seed in range(max(1, attempts)):
        answers = _answers(backend, {index: requests[index] for index in waiting}, seed, cache, counts)
        results |= {index: _value(answers[index], parse, counts[index]) for index in waiting}
        waiting = [index for index in waiting if _is_malformed(results[index])]
        if not waiting:
            break
    return [results[index] for index in range(len(requests))]


def _answers(
    backend: Backend,
    requests: Mapping[int, Request],
    seed: int,
    cache: AnswerCache | None,
    counts: Sequence[Counter[str]],
) -> dict[int, str | Refused]:
    """From the cache where it has them, else asked and put there as they come."""
    if cache is None:
        places = list(requests)
        asked = {places[place]: text for place, text in backend.stream(list(requests.values()), seed)}
        _count(counts, asked, "answers_asked", seed)
        return asked
    names = {index: cache.name(backend, request, seed) for index, request in requests.items()}
    with ThreadPoolExecutor(_TRANSFERS) as threads:
        texts = threads.map(cache.read, names.values())
        found: dict[int, str | Refused] = {
            index: text for index, text in zip(names, texts, strict=True) if text is not None
        }
        _count(counts, found, "answers_cached", seed)
        missing = [index for index in requests if index not in found]
        kept = [
            threads.submit(cache.write, names[index], text, backend, requests[index], seed)
            for index, text in _asked(backend, requests, missing, seed, found)
        ]
        for write in kept:
            write.result()
    _count(counts, missing, "answers_asked", seed)
    return found


def _asked(
    backend: Backend,
    requests: Mapping[int, Request],
    missing: Sequence[int],
    seed: int,
    found: dict[int, str | Refused],
) -> Iterator[tuple[int, str]]:
    """Fill `found` with what is missing, and tell of each text that can be kept."""
    for place, answer in backend.stream([requests[index] for index in missing], seed):
        found[missing[place]] = answer
        if isinstance(answer, str):
            yield missing[place], answer


def _value(answer: str | Refused, parse: Callable[[str], T], counts: Mapping[str, int]) -> Answered[T] | Reject:
    if isinstance(answer, Refused):
        return Reject(answer.reason, detail=answer.detail, counts=dict(counts))
    try:
        return Answered(parse(answer), dict(counts))
    except ValueError as error:
        problem = " ".join(str(error).split())[:400]
        return Reject(MALFORMED, detail=f"{problem}; the answer ends: {answer[-_TOLD:]!r}", counts=dict(counts))


def _is_malformed(result: object) -> bool:
    return isinstance(result, Reject) and result.reason == MALFORMED


def _count(counts: Sequence[Counter[str]], indices: Sequence[int] | Mapping[int, Any], what: str, seed: int) -> None:
    for index in indices:
        counts[index][what] += 1
        if seed:
            counts[index]["answers_retried"] += 1
