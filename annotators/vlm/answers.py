"""Turn requests into checked values, and cache the answers.

Invariant: an answer is cached before it is used, under a digest of everything that determines it (model, revision,
texts, image bytes, schema, sampling, seed). So a resumed build sends only the requests without an answer, and produces
the same values. An unreadable cache entry counts as absent.
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
from .client import Backend, RejectedRequest, Request

T = TypeVar("T")

MALFORMED_ANSWER: Final = "malformed_answer"
_TRANSFERS: Final = 16
"""Concurrent reads and writes of the cache: on an object store each takes tens of milliseconds."""
_SHOWN_CHARACTERS: Final = 160
"""Characters at the end of a malformed answer that its reject shows."""


@dataclass(frozen=True)
class Answered(Generic[T]):
    """A parsed answer."""

    value: T
    counts: Mapping[str, int]
    """For the sample's `Row.counts`: answers_asked, answers_cached, and how many of both are answers_retried."""


class AnswerCache:
    """Answers in a folder, one small JSON file each: `<url>/ab/cd/<sha256>.json`.

    Args:
        url: any fsspec URL; created by the first write.
        settings: what determines an answer besides model and request (`VlmOptions.settings`).
    """

    def __init__(self, url: str, settings: Mapping[str, Any]) -> None:
        self.url = url
        self._settings: dict[str, Any] = redact_values(settings)

    def name(self, backend: Backend, request: Request, seed: int) -> str:
        """The name of an answer: 64 hex digits of a digest of everything that determines it. `Request.key` does not."""
        content = {
            "model": backend.model,
            "revision": backend.revision,
            "settings": self._settings,
            "system": request.system,
            "text": request.text,
            "images": [hashlib.sha256(image).hexdigest() for image in request.images],
            "schema": json.dumps(request.schema),  # in its own order, which is the order of the answer
            "seed": seed,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def read(self, name: str) -> str | None:
        """The answer's text; None if there is no valid entry."""
        fs, path = filesystem(self._url_of(name))
        try:
            entry = json.loads(fs.cat_file(path))
        except (FileNotFoundError, ValueError):
            return None
        valid = isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get("text"), str)
        return str(entry["text"]) if valid else None

    def write(self, name: str, text: str, backend: Backend, request: Request, seed: int) -> None:
        """Write an answer atomically. Only `name` and `text` are read; the other keys are for people."""
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
    """Return a parsed answer or a reject for each request, in order.

    Args:
        parse: parses an answer's text; raises ValueError (such as pydantic's ValidationError) if it is malformed.
        attempts: how often a request is sent until its answer parses; attempt i, from 0, has seed i.
        cache: where all answers are cached, malformed ones too; None: nowhere.

    Rejects: `malformed_answer` with the last problem, `request_refused` with the server's reason, `unreadable_image`;
    all with counts.
    Raises SpatialdataError if the model cannot be reached. Answers that arrived before are cached.
    """
    counts = [Counter[str]() for _ in requests]
    results: dict[int, Answered[T] | Reject] = {}
    waiting = list(range(len(requests)))
    for seed in range(max(1, attempts)):
        answers = _collect_answers(backend, {index: requests[index] for index in waiting}, seed, cache, counts)
        results |= {index: _parse_answer(answers[index], parse, counts[index]) for index in waiting}
        waiting = [index for index in waiting if _is_malformed(results[index])]
        if not waiting:
            break
    return [results[index] for index in range(len(requests))]


def _collect_answers(
    backend: Backend,
    requests: Mapping[int, Request],
    seed: int,
    cache: AnswerCache | None,
    counts: Sequence[Counter[str]],
) -> dict[int, str | RejectedRequest]:
    """Read answers from the cache; request the missing ones, and cache them as they arrive."""
    if cache is None:
        places = list(requests)
        asked = {places[place]: text for place, text in backend.stream(list(requests.values()), seed)}
        _count(counts, asked, "answers_asked", seed)
        return asked
    names = {index: cache.name(backend, request, seed) for index, request in requests.items()}
    with ThreadPoolExecutor(_TRANSFERS) as threads:
        texts = threads.map(cache.read, names.values())
        found: dict[int, str | RejectedRequest] = {
            index: text for index, text in zip(names, texts, strict=True) if text is not None
        }
        _count(counts, found, "answers_cached", seed)
        missing = [index for index in requests if index not in found]
        kept = [
            threads.submit(cache.write, names[index], text, backend, requests[index], seed)
            for index, text in _ask_missing(backend, requests, missing, seed, found)
        ]
        for write in kept:
            write.result()
    _count(counts, missing, "answers_asked", seed)
    return found


def _ask_missing(
    backend: Backend,
    requests: Mapping[int, Request],
    missing: Sequence[int],
    seed: int,
    found: dict[int, str | RejectedRequest],
) -> Iterator[tuple[int, str]]:
    """Request the missing answers, add them to `found`, and yield each text for the cache."""
    for place, answer in backend.stream([requests[index] for index in missing], seed):
        found[missing[place]] = answer
        if isinstance(answer, str):
            yield missing[place], answer


def _parse_answer(
    answer: str | RejectedRequest, parse: Callable[[str], T], counts: Mapping[str, int]
) -> Answered[T] | Reject:
    if isinstance(answer, RejectedRequest):
        return Reject(answer.reason, detail=answer.detail, counts=dict(counts))
    try:
        return Answered(parse(answer), dict(counts))
    except ValueError as error:
        problem = " ".join(str(error).split())[:400]
        return Reject(
            MALFORMED_ANSWER, detail=f"{problem}; the answer ends: {answer[-_SHOWN_CHARACTERS:]!r}", counts=dict(counts)
        )


def _is_malformed(result: object) -> bool:
    return isinstance(result, Reject) and result.reason == MALFORMED_ANSWER


def _count(counts: Sequence[Counter[str]], indices: Sequence[int] | Mapping[int, Any], what: str, seed: int) -> None:
    for index in indices:
        counts[index][what] += 1
        if seed:
            counts[index]["answers_retried"] += 1
