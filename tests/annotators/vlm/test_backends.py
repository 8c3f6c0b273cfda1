"""What the backends send to a server, and the errors for a missing server, model, key or package."""

import importlib.util
import socket
import threading
import time
from typing import Any

import cv2
import numpy as np
import pytest

from spatialdata_builder.annotators.vlm.backends import open_backend
from spatialdata_builder.annotators.vlm.client import RejectedRequest, Request
from spatialdata_builder.annotators.vlm.images import pixels
from spatialdata_builder.annotators.vlm.options import VlmOptions
from spatialdata_builder.shards.codecs import encode_image
from spatialdata_builder.shards.errors import BadInput, SpatialdataError
from tests.annotators.vlm.server import Reply, complete, images_of, serving, text_of

RNG = np.random.default_rng(0)
SOURCE = RNG.integers(0, 256, (60, 80, 3), dtype=np.uint8)
TARGET = RNG.integers(0, 256, (90, 30, 3), dtype=np.uint8)
SCHEMA = {"type": "object", "properties": {"b": {"type": "integer"}, "a": {"type": "integer"}}}


def question(*images: bytes) -> Request:
    return Request("s-1", "You compare.", "The first image is the source.", images, SCHEMA)


def options(url: str, **others: Any) -> VlmOptions:
    return VlmOptions(**{"backend": "openai", "base_url": url, "model": "tiny", "send_attempts": 1, **others})


def empty_object(body: dict[str, Any]) -> Reply:
    return "{}"


@pytest.mark.parametrize("codec", ["webp", "png"])
def test_images_arrive_in_order_with_the_same_pixels(codec: Any):
    with serving(empty_object) as service:
        backend = open_backend(options(service.url), images=2)
        assert complete(backend, [question(encode_image(SOURCE, codec), encode_image(TARGET, codec))]) == ["{}"]
        (body,) = service.bodies
    first, second = images_of(body)
    np.testing.assert_array_equal(first, SOURCE)
    np.testing.assert_array_equal(second, TARGET)
    assert [part["type"] for part in body["messages"][-1]["content"]] == ["image_url", "image_url", "text"]
    assert text_of(body) == "The first image is the source."
    assert body["messages"][0] == {"role": "system", "content": "You compare."}


def test_large_images_are_shrunk_to_the_longer_side():
    for rgb, size in ((SOURCE, (24, 32)), (TARGET, (32, 11))):
        small = pixels(encode_image(rgb, "png"), 32)
        assert small.shape == (*size, 3)
        exact = cv2.resize(rgb.astype(np.float64), size[::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(small - exact).max() <= 1
    np.testing.assert_array_equal(pixels(encode_image(SOURCE, "png"), 80), SOURCE)


def test_a_request_has_sampling_parameters_and_a_schema():
    with serving(empty_object) as service:
        backend = open_backend(options(service.url, temperature=0.25, max_tokens=77), images=2)
        complete(backend, [question()])
        (body,) = service.bodies
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("tiny", 0.25, 77)
    form = body["response_format"]
    assert form["type"] == "json_schema" and form["json_schema"]["schema"] == SCHEMA
    assert list(form["json_schema"]["schema"]["properties"]) == ["b", "a"]  # the order is that of the answer


def test_a_request_to_a_busy_server_is_retried():
    replies: list[Reply] = [(429, {"error": {"message": "slow down"}}), '{"n": 1}']
    with serving(lambda body: replies.pop(0)) as service:
        backend = open_backend(options(service.url, send_attempts=2), images=0)
        assert complete(backend, [question()]) == ['{"n": 1}']
        assert len(service.bodies) == 2


def test_a_server_that_stays_busy_stops_the_run():
    with serving(lambda body: (503, {"error": {"message": "overloaded"}})) as service:
        backend = open_backend(options(service.url, send_attempts=2), images=0)
        with pytest.raises(SpatialdataError, match=r"answers 503 after 2 attempts \(overloaded\).*kept") as caught:
            complete(backend, [question()])
        assert not isinstance(caught.value, BadInput)
        assert len(service.bodies) == 2


def test_a_server_that_never_answers_stops_the_run_and_rejects_nothing():
    quick, asked = threading.Event(), threading.Event()

    def answer(body: dict[str, Any]) -> Reply:
        if not quick.is_set():
            quick.set()
            return "{}"
        asked.set()
        closing.wait(30)
        return "{}"

    closing = threading.Event()
    with serving(answer) as service:
        backend = open_backend(options(service.url, send_attempts=2, timeout_s=0.3, in_flight=1), images=0)
        answers = backend.stream([question(), question()], 0)
        assert next(answers) == (0, "{}")  # an answer that arrived before is not lost
        began = time.monotonic()
        with pytest.raises(SpatialdataError, match=r"not answer within 0\.3 s \(2 attempts\).*vlm\.timeout_s.*kept"):
            next(answers)
        assert asked.is_set() and time.monotonic() - began < 10
        closing.set()
    # The list of models has the same limit.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        with pytest.raises(BadInput, match=rf"{url} did not answer within 0\.2 s \(1 attempt\)"):
            open_backend(options(url, timeout_s=0.2), images=0)


def test_a_request_with_a_damaged_image_is_rejected_and_not_sent():
    with serving(empty_object) as service:
        backend = open_backend(options(service.url), images=2)
        broken, whole = complete(backend, [question(b"RIFF no image"), question(encode_image(SOURCE))])
        assert isinstance(broken, RejectedRequest) and broken.reason == "unreadable_image" and whole == "{}"
        assert len(service.bodies) == 1


def test_no_server_at_the_address():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(BadInput, match=rf"http://127\.0\.0\.1:{port}/v1 cannot be reached.*base_url"):
        open_backend(options(f"http://127.0.0.1:{port}/v1"), images=0)


def test_a_model_that_the_server_does_not_have():
    with (
        serving(empty_object) as service,
        pytest.raises(BadInput, match=r"not have model 'huge' \(it has: tiny\)"),
    ):
        open_backend(options(service.url, model="huge"), images=0)
    missing = (404, {"error": {"message": "The model `tiny` does not exist."}})
    with serving(lambda body: missing, models=(404, {})) as service:  # servers need not list their models
        backend = open_backend(options(service.url), images=0)
        with pytest.raises(BadInput, match=r"no model 'tiny'.*does not exist"):
            complete(backend, [question()])


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEER_KEY", "k-123")
    with serving(empty_object) as service:
        complete(open_backend(options(service.url, api_key_env="SEER_KEY"), images=0), [question()])
        complete(open_backend(options(service.url), images=0), [question()])
        assert service.headers[0]["Authorization"] == "Bearer k-123"
        assert "Authorization" not in service.headers[1]
        monkeypatch.delenv("SEER_KEY")
        with pytest.raises(BadInput, match="SEER_KEY, which is not set"):
            open_backend(options(service.url, api_key_env="SEER_KEY"), images=0)
    with (
        serving(empty_object, models=(401, {"error": {"message": "Invalid key"}})) as service,
        pytest.raises(BadInput, match=r"401: Invalid key.*vlm\.api_key_env"),
    ):
        open_backend(options(service.url), images=0)


@pytest.mark.parametrize("body", ["<html>Welcome</html>", {"choices": []}, {"answer": "{}"}, [1]])
def test_a_server_with_another_api(body: Any):
    with serving(lambda _: (200, body)) as service:
        backend = open_backend(options(service.url), images=0)
        with pytest.raises(SpatialdataError, match="does not implement OpenAI's chat completions API"):
            complete(backend, [question()])


def test_a_model_that_declines_gives_an_empty_answer():
    with serving(lambda _: (200, {"choices": [{"message": {"content": None, "refusal": "no"}}]})) as service:
        assert complete(open_backend(options(service.url), images=0), [question()]) == [""]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"backend": "openai"}, r"vlm\.base_url must be the address of a server, .*http://host:8000/v1.*\(got ''\)"),
        ({"backend": "openai", "base_url": "host:8000"}, r"vlm\.base_url must be .*\(got 'host:8000'\)"),
        ({"model": ""}, r"vlm\.model is empty"),
        ({"gpu_memory_utilization": 2}, r"vlm\.gpu_memory_utilization must be 0 to 1 \(got 2\)"),
        ({"timeout_s": 0}, r"vlm\.timeout_s must be 0\.1 or more \(got 0\)"),
        ({"answer_attempts": 0}, r"vlm\.answer_attempts must be 1 or more \(got 0\)"),
        ({"temperature": -0.1}, r"vlm\.temperature must be 0 or more \(got -0\.1\)"),
        (
            {"tensor_parallel": 2},
            r"tensor_parallel is 2, but a worker has 1 GPU: set .*\.vlm\.gpus to 2",
        ),
    ],
)
def test_invalid_options(given: dict[str, Any], message: str):
    with pytest.raises(BadInput, match=message):
        VlmOptions(**given)


def test_a_share_of_a_gpu_is_a_share_of_its_memory():
    assert VlmOptions(gpus=0.5).memory_share == pytest.approx(0.45)
    assert VlmOptions(gpus=2, tensor_parallel=2).memory_share == VlmOptions().memory_share == pytest.approx(0.9)
    assert VlmOptions(gpus=0.5, gpu_memory_utilization=0.3).memory_share == 0.3


def test_a_stage_that_uses_a_server_needs_no_gpu():
    assert options("http://host/v1").gpus == 0
    assert VlmOptions(tensor_parallel=2, gpus=2).gpus == 2


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed here")
def test_vllm_is_not_installed():
    with pytest.raises(BadInput, match=r"pip install -c constraints\.txt -e '\.\[vllm\]'"):
        open_backend(VlmOptions(gpus=0), images=2)
