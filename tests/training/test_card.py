"""Model cards, and their upload to a local server with the hub's protocol."""

import base64
import json
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from spatialdata_builder.shards.errors import SpatialdataError
from spatialdata_builder.shards.sidecars import ATTRIBUTION
from spatialdata_builder.training import registry
from spatialdata_builder.training.card import DataCard, data_card, push, write_card
from spatialdata_builder.training.checkpoint import find_checkpoint
from spatialdata_builder.training.cli import train
from spatialdata_builder.training.metrics import read_metrics
from tests.training.linear import run


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "RECIPES", {**registry.RECIPES, "linear": "tests.training.linear:Linear"})


@pytest.fixture
def trained(triplets: Path, tmp_path: Path) -> Path:
    run(triplets, tmp_path / "run", "steps=2", "validate_every=2", f"data.cache={tmp_path / 'secret place'}", "ema=0.5")
    return tmp_path / "run"


@pytest.fixture
def described(tmp_path: Path) -> str:
    """A recipe's folder with a data card, as packing writes it."""
    folder = tmp_path / "shards" / "spatialdiff"
    (folder / "train").mkdir(parents=True)
    (folder / "README.md").write_text("---\npretty_name: a *set*\nlicense: cc-by-4.0\n---\n\nText.\n")
    (folder / ATTRIBUTION).write_text("- Mug by Ada, CC BY.\n")
    return str(folder)


def parts(folder: Path) -> tuple[dict[str, Any], str]:
    _, head, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(head), text


def test_the_card_names_base_data_licenses_and_results(trained: Path, described: str, tmp_path: Path):
    (tmp_path / "made").mkdir()
    write_card(trained, find_checkpoint(trained), [described], tmp_path / "made")
    head, text = parts(tmp_path / "made")
    assert head["base_model"] == ["somebody/linear-base"]
    assert "[somebody/linear-base](https://huggingface.co/somebody/linear-base)" in text
    assert r"a \*set\*: [data card](DATA_CARD_1.md)" in text
    assert "cc-by-4.0" in text
    assert (tmp_path / "made" / "DATA_CARD_1.md").read_text().endswith("Text.\n")
    assert (tmp_path / "made" / ATTRIBUTION).read_text() == "- Mug by Ada, CC BY.\n"
    last = read_metrics(trained)[-1]
    assert f"| training loss | 2 | {last['loss']:.4g} |" in text
    assert f"| val/loss/rotate | 2 | {last['val/loss/rotate']:.4g} |" in text
    assert str(tmp_path) not in text and "secret" not in text


@pytest.mark.parametrize("below", ["", "train"])
def test_the_data_card_is_found_from_the_folder_or_a_split(below: str, described: str, tmp_path: Path):
    for url in (f"{described}/{below}", str(tmp_path), str(tmp_path / "shards")):
        assert data_card(url, "spatialdiff").head["license"] == "cc-by-4.0"
    assert data_card(str(tmp_path / "nothing"), "spatialdiff").text == ""


class Hub(BaseHTTPRequestHandler):
    """The requests of an upload of small files."""

    files: dict[str, bytes]
    created: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = self._body()
        if self.path == "/api/repos/create":
            self.created.append(json.loads(body))
            return self._answer({"url": "https://huggingface.co/ada/model", "name": "ada/model", "id": "1"})
        if self.path == "/api/validate-yaml":
            return self._answer({"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]
            ]
            return self._answer({"files": files})
        for line in body.decode().splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                self.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
        return self._answer(
            {"commitUrl": "https://huggingface.co/ada/model/commit/1", "commitOid": "1", "hookOutput": ""}
        )

    def do_GET(self) -> None:
        self._answer({"id": "ada/model", "siblings": [], "sha": "0"})

    def _body(self) -> bytes:
        if "content-length" in self.headers:
            return self.rfile.read(int(self.headers["content-length"]))
        parts: list[bytes] = []  # in chunks, each after its size
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Generator[type[Hub]]:
    handler = type("Handler", (Hub,), {"files": {}, "created": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    yield handler
    server.shutdown()
    server.server_close()


def test_push_uploads_the_averaged_weights_with_the_card(trained: Path, described: str, hub: type[Hub]):
    assert push(trained, "ada/model", [described], private=True) == "https://huggingface.co/ada/model"
    assert (hub.created[0]["name"], hub.created[0]["visibility"]) == ("model", "private")
    assert set(hub.files) == {"README.md", "DATA_CARD_1.md", ATTRIBUTION, "begun", "net.safetensors"}
    weights = find_checkpoint(trained) / "ema" / "net.safetensors"
    assert hub.files["net.safetensors"] == weights.read_bytes()


def test_the_command_pushes_after_training(triplets: Path, tmp_path: Path, hub: type[Hub]):
    arguments = ["push", str(tmp_path / "run"), "ada/model", "-s", str(triplets)]
    run(triplets, tmp_path / "run", "steps=1")
    found = CliRunner().invoke(train, arguments, catch_exceptions=False)
    assert found.output.strip() == "https://huggingface.co/ada/model"
    assert b"linear, step 1" in hub.files["README.md"]


def test_an_unreachable_hub_is_one_line(trained: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    with pytest.raises(
        SpatialdataError, match=r"cannot upload to ada/model: .*rerun `spatialdata train push`"
    ) as error:
        push(trained, "ada/model", [])
    assert "\n" not in str(error.value)


def test_a_dataset_on_the_hub_is_named_by_its_id():
    assert DataCard("hf://datasets/ada/mugs@main/spatialdiff", "", "").hub_id == "ada/mugs"
    assert DataCard("s3://ada/mugs", "", "").hub_id == ""
