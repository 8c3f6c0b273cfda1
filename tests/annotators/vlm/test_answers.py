"""Answers are requested once, retried if malformed, and never lost by a later failure."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from spatialdata_builder.annotators.qwen3_vl import Qwen3VLInstruction
from spatialdata_builder.annotators.vlm.answers import AnswerCache, Answered, ask
from spatialdata_builder.annotators.vlm.backends import open_backend
from spatialdata_builder.annotators.vlm.client import Backend, Request
from spatialdata_builder.shards.errors import SpatialdataError
from spatialdata_builder.shards.sample import Reject
from tests.annotators.vlm.server import Reply, Service, serving, text_of

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
QUESTIONS = [Request(f"s-{i}", "You count.", f"question {i}", (), SCHEMA) for i in range(8)]


def parse(text: str) -> int:
    return int(json.loads(text)["n"])


def echo(body: dict[str, Any]) -> Reply:
    """Answer with the question's number."""
    return json.dumps({"n": int(text_of(body).split()[-1])})


def opened(service: Service, **options: Any) -> Backend:
    return open_backend(options_of(service, **options), images=0)


def options_of(service: Service, **options: Any) -> Qwen3VLInstruction:
    return Qwen3VLInstruction(
        **{"backend": "openai", "base_url": service.url, "model": "tiny", "send_attempts": 1, **options}
    )


def values(answers: list[Answered[int] | Reject]) -> list[int | str]:
    return [answer.value if isinstance(answer, Answered) else answer.reason for answer in answers]


def test_answers_are_in_the_order_of_the_questions(tmp_path: Path):
    with serving(echo) as service:
        cache = AnswerCache(str(tmp_path), {})
        assert values(ask(opened(service), QUESTIONS, parse, attempts=1, cache=cache)) == list(range(8))
        assert values(ask(opened(service), QUESTIONS, parse, attempts=1)) == list(range(8))
        assert len(service.bodies) == 16


def test_questions_answered_before_a_crash_are_not_sent_again(tmp_path: Path):
    answered = 0

    def fails_in_the_middle(body: dict[str, Any]) -> Reply:
        nonlocal answered
        answered += 1
        return echo(body) if answered <= 5 else (503, {"error": {"message": "overloaded"}})

    cache = AnswerCache(f"file://{tmp_path}/answers", {})
    with serving(fails_in_the_middle) as service:
        with pytest.raises(SpatialdataError, match=r"503 .*overloaded.* are kept"):
            ask(opened(service, in_flight=1), QUESTIONS, parse, attempts=3, cache=cache)
        assert len(service.bodies) == 6  # nothing was sent after the failure
    with serving(echo) as service:
        found = ask(opened(service), QUESTIONS, parse, attempts=3, cache=cache)
        assert values(found) == list(range(8))
        assert sorted(text_of(body) for body in service.bodies) == [f"question {i}" for i in (5, 6, 7)]
        counts = [dict(answer.counts) for answer in found]
        assert counts == [{"answers_cached": 1}] * 5 + [{"answers_asked": 1}] * 3
        assert values(ask(opened(service), QUESTIONS, parse, attempts=3, cache=cache)) == list(range(8))
        assert len(service.bodies) == 3


ASKER = """
import sys
from tests.annotators.vlm.test_answers import QUESTIONS, parse
from spatialdata_builder.annotators.qwen3_vl import Qwen3VLInstruction
options = Qwen3VLInstruction(backend="openai", base_url=sys.argv[1], model="tiny", answers=sys.argv[2], in_flight=2)
options.ask(options.setup(), QUESTIONS, parse)
"""


@pytest.mark.slow
def test_a_killed_process_loses_no_answer_that_arrived(tmp_path: Path):
    enough, dead = 3, Event()

    def kill_when_enough_is_kept(body: dict[str, Any]) -> Reply:
        # The last questions are answered only after the first answers are cached, or the asker is dead.
        if int(text_of(body).split()[-1]) >= enough + 1:
            while len(list(tmp_path.glob("*/*/*.json"))) < enough:
                assert not dead.wait(0.01)
            asker.send_signal(signal.SIGKILL)
            dead.wait(30)
        return echo(body)

    with serving(kill_when_enough_is_kept) as service:
        asker = subprocess.Popen([sys.executable, "-c", ASKER, service.url, str(tmp_path)], cwd=ROOT)
        assert asker.wait(60) == -signal.SIGKILL
        dead.set()
    kept = {json.loads(file.read_text())["key"] for file in tmp_path.glob("*/*/*.json")}
    assert len(kept) >= enough
    with serving(echo) as service:
        options = options_of(service, answers=str(tmp_path))
        assert values(options.ask(options.setup(), QUESTIONS, parse)) == list(range(8))
        asked = {f"s-{text_of(body).split()[-1]}" for body in service.bodies}
    assert asked == {request.key for request in QUESTIONS} - kept


def test_answers_in_flight_are_cached_if_one_request_fails(tmp_path: Path):
    def one_fails(body: dict[str, Any]) -> Reply:
        return (500, {"message": "broken"}) if text_of(body) == "question 0" else echo(body)

    cache = AnswerCache(str(tmp_path), {})
    with serving(one_fails) as service:
        with pytest.raises(SpatialdataError, match="500"):
            ask(opened(service, in_flight=8), QUESTIONS, parse, attempts=1, cache=cache)
        sent = {text_of(body) for body in service.bodies}
    kept = {json.loads(file.read_text())["key"] for file in tmp_path.glob("*/*/*.json")}
    assert kept == {f"s-{text.split()[-1]}" for text in sent - {"question 0"}}


def test_the_cache_has_two_levels_of_folders(tmp_path: Path):
    with serving(echo) as service:
        backend = opened(service, revision="r1")
        ask(backend, QUESTIONS[:1], parse, attempts=1, cache=AnswerCache(str(tmp_path), {"temperature": 0.7}))
        (file,) = tmp_path.glob("*/*/*.json")
        assert file.relative_to(tmp_path).as_posix() == f"{file.stem[:2]}/{file.stem[2:4]}/{file.stem}.json"
        entry = json.loads(file.read_text())
        assert entry["text"] == '{"n": 0}' and entry["model"] == "tiny" and entry["revision"] == "r1"
        assert not list(tmp_path.glob("**/.*"))  # no temporary file is left


@pytest.mark.parametrize(
    "damage", ["", '{"name": "', '{"text": "{}"}', "[1]", '{"name": "other", "text": "{}"}', b"\xff"]
)
def test_a_damaged_cache_entry_is_requested_again(tmp_path: Path, damage: str | bytes):
    cache = AnswerCache(str(tmp_path), {})
    with serving(echo) as service:
        ask(opened(service), QUESTIONS[:2], parse, attempts=1, cache=cache)
        file = tmp_path / Path(*_parts(cache.name(opened(service), QUESTIONS[1], 0)))
        file.write_bytes(damage.encode() if isinstance(damage, str) else damage)
        assert values(ask(opened(service), QUESTIONS[:2], parse, attempts=1, cache=cache)) == [0, 1]
        assert [text_of(body) for body in service.bodies[2:]] == ["question 1"]
        assert json.loads(file.read_text())["text"] == '{"n": 1}'


def _parts(name: str) -> tuple[str, ...]:
    return name[:2], name[2:4], f"{name}.json"


def test_a_malformed_answer_is_retried_with_another_seed_and_a_higher_temperature(tmp_path: Path):
    seeds: dict[str, list[tuple[int, float]]] = {}

    def second_time_lucky(body: dict[str, Any]) -> Reply:
        tried = seeds.setdefault(text_of(body), [])
        tried.append((body["seed"], body["temperature"]))
        return "I would rather not." if text_of(body) == "question 3" and len(tried) < 2 else echo(body)

    cache = AnswerCache(str(tmp_path), {})
    with serving(second_time_lucky) as service:
        found = ask(opened(service, temperature=0.0), QUESTIONS[:4], parse, attempts=3, cache=cache)
        assert values(found) == [0, 1, 2, 3]
        assert found[3].counts == {"answers_asked": 2, "answers_retried": 1}
        assert [len(tried) for tried in seeds.values()].count(1) == 3
        (first, cold), (second, warm) = seeds["question 3"]
        assert first != second and cold == 0 and warm > 0
        assert len({tried[0][0] for tried in seeds.values()}) == 4  # no two questions share a seed
        again = ask(opened(service, temperature=0.0), QUESTIONS[:4], parse, attempts=3, cache=cache)
        assert values(again) == [0, 1, 2, 3] and len(service.bodies) == 5
        assert again[3].counts == {"answers_cached": 2, "answers_retried": 1}


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("No idea.", "Expecting value"),
        ('{"n": 1', "delimiter"),
        ('{"n": "many"}', "invalid literal"),
        ("", "Expecting"),
    ],
)
def test_a_malformed_answer_is_a_reject_after_the_last_attempt(answer: str, problem: str):
    with serving(lambda body: answer) as service:
        (found,) = ask(opened(service), QUESTIONS[:1], parse, attempts=3)
        assert isinstance(found, Reject) and found.reason == "malformed_answer"
        assert problem in found.detail and repr(answer) in found.detail
        assert found.counts == {"answers_asked": 3, "answers_retried": 2}
        assert len(service.bodies) == 3 and len({body["seed"] for body in service.bodies}) == 3


def test_a_rejected_request_does_not_affect_others_and_is_not_cached(tmp_path: Path):
    def too_long(body: dict[str, Any]) -> Reply:
        error = {"error": {"message": "This model's maximum context length is 8 tokens."}}
        return (400, error) if text_of(body) == "question 2" else echo(body)

    cache = AnswerCache(str(tmp_path), {})
    with serving(too_long) as service:
        found = ask(opened(service), QUESTIONS[:4], parse, attempts=3, cache=cache)
        assert values(found) == [0, 1, "request_refused", 3]
        assert isinstance(found[2], Reject) and "maximum context length" in found[2].detail
        assert len(service.bodies) == 4  # no retry: another seed does not make the request shorter
    with serving(echo) as service:
        assert values(ask(opened(service), QUESTIONS[:4], parse, attempts=3, cache=cache)) == [0, 1, 2, 3]
        assert len(service.bodies) == 1


CHANGES: dict[str, Callable[[Request], Request]] = {
    "system": lambda r: Request(r.key, "You sing.", r.text, r.images, r.schema),
    "text": lambda r: Request(r.key, r.system, "question 7", r.images, r.schema),
    "images": lambda r: Request(r.key, r.system, r.text, (b"b", b"a"), r.schema),
    "schema": lambda r: Request(r.key, r.system, r.text, r.images, {"type": "object"}),
}


def test_a_cache_name_covers_everything_that_determines_the_answer():
    request = Request("s-0", "You count.", "question 0", (b"a", b"b"), SCHEMA)
    with serving(echo) as service:
        one, two = opened(service), opened(service, revision="r2")
        cache = AnswerCache("memory://answers", options_of(service).settings)
        name = cache.name(one, request, 0)
        assert name == cache.name(one, Request("s-1", *_rest(request)), 0)
        names = [cache.name(one, change(request), 0) for change in CHANGES.values()]
        names += [cache.name(two, request, 0), cache.name(one, request, 1)]
        for option in (
            {"temperature": 0.1},
            {"max_tokens": 99},
            {"image_side": 64},
            {"engine": {"quantization": "fp8"}},
        ):
            names.append(AnswerCache("memory://answers", options_of(service, **option).settings).name(one, request, 0))
        assert len({name, *names}) == 1 + len(names)
        elsewhere = options_of(service, in_flight=2, timeout_s=5, answers="memory://a")
        assert AnswerCache("memory://answers", elsewhere.settings).name(one, request, 0) == name


def _rest(request: Request) -> tuple[Any, ...]:
    return request.system, request.text, request.images, request.schema


def test_the_cache_can_be_on_any_store():
    with serving(echo) as service:
        cache = AnswerCache("memory://store/answers", {})
        assert values(ask(opened(service), QUESTIONS, parse, attempts=1, cache=cache)) == list(range(8))
        assert values(ask(opened(service), QUESTIONS, parse, attempts=1, cache=cache)) == list(range(8))
        assert len(service.bodies) == 8
