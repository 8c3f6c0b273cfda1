"""Image-edit servers: what is sent, both forms of an answer, and servers that refuse, fail or are away."""

import socket
import time

import numpy as np
import pytest

from spatialdata_builder.evaluation.benchmarks import Benchmark
from spatialdata_builder.evaluation.editors.editor import EditFailed, EditorGone, Task
from spatialdata_builder.evaluation.editors.server import Server
from spatialdata_builder.shards.codecs import decode_image, encode_image
from spatialdata_builder.shards.errors import BadInput
from tests.evaluation.editors.image_server import Seen, answered, encoded, serve

PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
PNG = encode_image(PICTURE, "png")


@pytest.fixture
def task(benchmark: Benchmark) -> Task:
    key = benchmark.keys[0]
    path = benchmark.item(key, "source.png")
    return Task(key, decode_image(path.read_bytes()), "Move the “box”\nto the left.", 7, path, benchmark.record(key))


def opened(url: str, timeout_s: float = 20) -> Server:
    server = Server(f"openai:{url}#some/model", timeout_s)
    server.setup()
    return server


def test_a_request_has_image_prompt_model_and_seed(task: Task, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-123456")
    with serve(lambda request: encoded(PNG)) as (url, seen):
        assert np.array_equal(opened(url).edit(task), PICTURE)
        assert np.array_equal(opened(f"{url}/v1/").edit(task), PICTURE)
    for request in seen:
        assert request.path == "/v1/images/edits"
        assert request.headers["Authorization"] == "Bearer sk-secret-123456"
        assert request.fields["image"] == task.path.read_bytes()
        texts = {name: value.decode() for name, value in request.fields.items() if name != "image"}
        assert texts == {"model": "some/model", "prompt": task.instruction, "n": "1", "seed": "7"}


@pytest.mark.parametrize("address", ["{url}/files/1.png", "/files/1.png", "data:image/png;base64,"])
def test_an_image_may_be_at_an_address(task: Task, address: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-123456")

    def answer(request: Seen):
        if request.path == "/files/1.png":
            return 200, {}, PNG
        whole = address + encoded(PNG)[2].decode().split('"')[-2] if address.startswith("data:") else address
        return answered(url=whole.format(url=url))

    with serve(answer) as (url, seen):
        assert np.array_equal(opened(url).edit(task), PICTURE)
    # The key is for the server's API; where images are is another service, as a rule.
    assert all("Authorization" not in request.headers for request in seen[1:])


def test_a_busy_server_is_asked_again(task: Task):
    answers = iter([(503, {"Retry-After": "0"}, b""), (429, {"Retry-After": "0"}, b""), encoded(PNG)])
    with serve(lambda request: next(answers)) as (url, seen):
        assert np.array_equal(opened(url).edit(task), PICTURE)
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((400, {}, b'{"error": {"message": "safety"}}'), "refused the request (400: safety)"),
        ((200, {}, b"<html>"), "has no image: <html>"),
        ((200, {}, b'{"data": []}'), "has no image"),
        ((200, {}, b'{"data": [{"b64_json": null}]}'), "has no image"),
        ((200, {}, b'{"data": [{"b64_json": "!"}]}'), "cannot be read"),
        (encoded(b"not a picture"), "cannot be read"),
    ],
)
def test_a_bad_answer_fails_one_sample(task: Task, answer, words: str):
    with serve(lambda request: answer) as (url, _), pytest.raises(EditFailed) as failed:
        opened(url).edit(task)
    assert words in str(failed.value)
    assert "\n" not in str(failed.value)


def test_an_image_that_is_not_at_its_address_fails_one_sample(task: Task):
    def answer(request: Seen):
        return answered(url="/lost") if request.fields else (410, {}, b"")

    with serve(answer) as (url, _), pytest.raises(EditFailed, match=r"/lost cannot be loaded \(status 410\)"):
        opened(url).edit(task)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((401, {}, b'{"error": {"message": "no key"}}'), "set OPENAI_API_KEY"),
        ((404, {}, b'{"detail": "Not Found"}'), "no image-edit API"),
        ((307, {"Location": "http://elsewhere"}, b""), "check URL and model"),
        ((500, {"Retry-After": "0"}, b'{"error": "broken"}'), "answers 500: broken"),
    ],
)
def test_a_server_that_works_for_no_sample_stops_the_run(task: Task, answer, words: str):
    with serve(lambda request: answer) as (url, _), pytest.raises(EditorGone) as gone:
        opened(url).edit(task)
    assert words in str(gone.value)


def test_a_server_that_is_away_stops_the_run(task: Task):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(EditorGone, match="rerun the command to resume"):
        opened(f"http://127.0.0.1:{port}").edit(task)


def test_a_server_that_hangs_fails_one_sample(task: Task):
    def answer(request: Seen):
        time.sleep(1)
        return encoded(PNG)

    with serve(answer) as (url, _), pytest.raises(EditFailed, match=r"did not answer within 0.2 s"):
        opened(url, 0.2).edit(task)


@pytest.mark.parametrize("text", ["openai:", "openai:http://x", "openai:localhost:8000#m", "openai:ftp://x#m"])
def test_bad_addresses(text: str):
    with pytest.raises(BadInput, match="give openai:URL#model"):
        Server(text, 1)


def test_the_seed_is_not_sent_where_it_is_refused():
    assert not Server("openai:https://api.openai.com/v1#gpt-image-1", 1)._seeded
    assert "hunter2" not in Server("openai:http://me:hunter2@host#m", 1).description
