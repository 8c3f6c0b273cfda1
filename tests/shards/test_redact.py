"""No secret is written or printed, and other text does not change."""

import json
import time

import pytest

from spatialdata_builder.shards.errors import BadInput, SpatialdataError
from spatialdata_builder.shards.redact import (
    HIDDEN,
    redact,
    redact_registered,
    redact_texts,
    redact_values,
    register_secret,
    register_url,
)

SECRETS = [
    "http://ann:s3same@host:8000/v1",
    "https://ann:s3same@host/v1?x=1",
    "http://ann:pa@s3same@host/v1",
    "http://ann:pa/s3same@host/v1",
    "http://:s3same@host/v1",
    "https://s3same@host/v1",
    "s3://AKIA1:s3same@bucket/out",
    "sftp://ann:s3same@host/folder",
    "https://host/v1?token=s3same&x=1",
    "https://host/v1?x=1&api_key=s3same",
    "https://host/v1?apikey=s3same#there",
    "https://bucket.s3.amazonaws.com/a?X-Amz-Credential=s3same&X-Amz-Date=1",
    "https://bucket.s3.amazonaws.com/a?X-Amz-Date=1&X-Amz-Signature=s3same",
    "https://bucket.s3.amazonaws.com/a?X-Amz-Security-Token=s3same",
    "https://storage.googleapis.com/a?X-Goog-Signature=s3same",
    "https://account.blob.core.windows.net/a?sv=2020&sig=s3same",
    "cannot read https://ann:s3same@host/v1: timed out",
    "Authorization: Bearer s3same",
    "authorization=s3same",
    "{'Authorization': 'Basic s3same='}",
    '{"Authorization": "Bearer s3same"}',
    '{\\"Authorization\\": \\"Bearer s3same\\"}',
    "Proxy-Authorization: Basic s3same",
    "X-Api-Key: s3same",
    "bad header Bearer s3same-0123456789abcdef",
    "password=s3same",
    '"db_password": "s3same"',
    "HF_TOKEN=s3same",
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_hidden(text: str):
    assert "s3same" not in redact(text)
    assert HIDDEN in redact(text)
    assert redact(redact(text)) == redact(text)
    for kind in (SpatialdataError, BadInput):
        assert "s3same" not in str(kind(f"it is not there: {text}"))


PLAIN = [
    "",
    "Move the red chair behind the table, please: it is in the way.",
    "/data/objaverse: no such folder",
    "s3://bucket/out/layers/pair-0123456789abcdef/00000001.parquet",
    "abfs://container@account.dfs.core.windows.net/out",
    "http://host:8000/v1/models/a@main",
    "https://host/v1?limit=10&page=2",
    "layers.instruction.api_key_env names SEER_KEY, which is not set here",
    "the server wants a key (401: Invalid key): put it into a variable",
    "max_tokens: 1536",
    "member 'a' is a link to '/etc/passwd': refused",
    "a basic chair, a bearer of news",
    "error: --set a.b = c",
]


@pytest.mark.parametrize("text", PLAIN)
def test_text_without_secrets_does_not_change(text: str):
    assert redact(text) == text
    assert redact_values({"a": [text]}) == {"a": [text]}


def test_a_registered_key_is_hidden_in_every_form():
    register_secret('kéy/"1234567"')
    for text in ('kéy/"1234567"', "x=k%C3%A9y%2F%221234567%22&y", json.dumps('kéy/"1234567"'), 'akéy/"1234567"b'):
        assert "1234567" not in redact(text)
        assert "1234567" not in redact_registered(text)
    register_secret("k-12")
    assert redact_registered("it is k-12.") == f"it is {HIDDEN}."
    assert redact_registered("rack-125") == "rack-125"
    register_secret("")
    register_secret("abc")
    assert redact_registered("abc") == "abc"


def test_the_header_made_from_a_password_is_hidden():
    register_url("http://ann:w%40rd-9876@host/v1")
    for text in ("w@rd-9876", "w%40rd-9876", "YW5uOndAcmQtOTg3Ng=="):  # the last: ann:w@rd-9876 in base 64
        assert redact_registered(f"you sent {text}!") == f"you sent {HIDDEN}!"
    register_url("http://[half/v1")


def test_a_secret_from_an_environment_variable_is_hidden(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    assert redact("SignatureDoesNotMatch wJalrXUtnFEMI") == f"SignatureDoesNotMatch {HIDDEN}"


def test_values_are_hidden_by_their_keys():
    given = {
        "engine": {"hf_token": "hf_1", "api_key": "k", "max_num_batched_tokens": 5, "pad_token": "<p>", "password": ""},
        "base_url": "http://ann:s3same@host/v1",
        "api_key_env": "SEER_KEY",
        "list": [{"secret": "x"}, ("a", 1, None, True)],
    }
    assert redact_values(given) == {
        "engine": {
            "hf_token": HIDDEN,
            "api_key": HIDDEN,
            "max_num_batched_tokens": 5,
            "pad_token": "<p>",
            "password": "",
        },
        "base_url": f"http://{HIDDEN}@host/v1",
        "api_key_env": "SEER_KEY",
        "list": [{"secret": HIDDEN}, ["a", 1, None, True]],
    }
    assert redact_texts({"token": "t", "errors": ["Authorization: x"]}) == {
        "token": "t",
        "errors": [f"Authorization: {HIDDEN}"],
    }


@pytest.mark.slow
@pytest.mark.parametrize("part", ["://a:", "a-", "authorization ", "Bearer ", "password", "?token=", "x_", "http://a"])
def test_long_texts_take_linear_time(part: str):
    def seconds(count: int) -> float:
        began = time.process_time()
        redact(part * count)
        return time.process_time() - began

    assert seconds(100_000) < 5
