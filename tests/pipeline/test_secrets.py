"""No file of OUT and no printed line has a password, a token or a key, and a build can be resumed."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.annotators.vlm.server import Reply, Service, serving
from tests.pipeline.command_line import CommandResult, assert_fails, build, run

pytestmark = pytest.mark.slow

PASSWORD, KEY = "pa55-w0rd-of-ann", "sk-key-of-the-server"
BASIC = base64.b64encode(f"ann:{PASSWORD}".encode()).decode()


def echoing(service: list[Service]) -> Any:
    """Every answer repeats the headers of its request."""

    def answer(_: dict[str, Any]) -> Reply:
        sent = json.dumps(service[0].headers[-1])
        return json.dumps({"reasoning": sent, "score": 25})

    return answer


def judge(url: str, **options: object) -> str:
    values = {"stage": "viescore", "backend": "openai", "base_url": url, "model": "tiny", "tries": 1, "attempts": 1}
    return f"layers.judge={json.dumps(values | options)}"


def with_password(url: str) -> str:
    return url.replace("http://", f"http://ann:{PASSWORD}@")


def check(out: Path, *result: CommandResult) -> None:
    """Assert that no file and no output has a secret."""
    files = {str(file): file.read_bytes() for file in out.rglob("*") if file.is_file()}
    files |= {f"output {number}": (one.out + one.err).encode() for number, one in enumerate(result)}
    for secret in (PASSWORD, KEY, BASIC):
        leaking = [name for name, data in files.items() if secret.encode() in data]
        assert leaking == [], secret


@pytest.mark.parametrize("status", [200, 400, 500])
def test_no_file_and_no_output_has_a_secret(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
):
    out, services = tmp_path / "out", list[Service]()
    answer = echoing(services)

    def reply(body: dict[str, Any]) -> Reply:
        return answer(body) if status == 200 else (status, {"error": {"message": answer(body)}})

    monkeypatch.setenv("SEER_KEY", KEY)
    with serving(reply) as service:
        services.append(service)
        for url, options in ((with_password(service.url), {}), (service.url, {"api_key_env": "SEER_KEY"})):
            result = [build(release, out, judge(url, **options), "samples=4")]
            result += [run("status", out, "--json"), run("why", out, "translate-train-uid000"), run("view", out)]
            again = ("--set", judge(url, **options), "--set", "engine.kind=inline")
            result += [run("card", out), run("--debug", "build", "--out", out, *again)]
            assert len(service.headers) > 0
            check(out, *result)
    if status == 200:
        assert list(out.glob("answers/*/*/*.json"))


def test_a_password_changes_no_layer_and_is_requested_again(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "out"
    kept = json.dumps({"semantic_consistency": 9, "reasoning": "well", "score": 25})
    with serving(lambda _: kept) as service:
        url = with_password(service.url)
        first = build(release, out, judge(url), "shard.recipes=[]")
        folders = {path.name for path in (out / "layers").iterdir()}
        build(release, out, judge(url.replace(PASSWORD, "another-w0rd")), "shard.recipes=[]")
        assert {path.name for path in (out / "layers").iterdir()} == folders, first
        file = next(name for name in ("build.json", "unfinished.json") if (out / name).exists())
        assert "http://[hidden]@127.0.0.1" in (out / file).read_text()
        record = next(out.glob("layers/judge-*/00000000.json"))
        record.unlink()
        name = "SPATIALDATA_LAYERS_JUDGE_BASE_URL"
        result = assert_fails(run("verify", out, "--repair"), "layers.judge.base_url", name)
        assert PASSWORD not in result
        before = len(service.headers)
        monkeypatch.setenv(name, url)
        assert run("rebuild", out, "translate-train-uid000").code == 0
        assert record.exists()
        assert run("build", "--config", out / file, "--out", out, "--set", "shard.recipes=[]").code == 0
    check(out)
    assert name in os.environ and before > 0
