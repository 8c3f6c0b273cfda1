"""Models that try to read files outside their folder, or to exhaust memory or time, are rejected before any file is
opened or memory is allocated."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from spatialdata_builder.shards.sample import Reject, Row, Sample
from spatialdata_builder.sources.assets.glb import GlbError, open_glb
from spatialdata_builder.sources.survey.geometry import SurveyAssets
from tests.sources.glb_writer import CORNERS, FACES, Model, glb
from tests.sources.odd_models import boxed

ROOT = Path(__file__).resolve().parents[3]
GIB = 2**30
_SURVEY = """
import json, sys, time
from pathlib import Path
from spatialdata_builder.shards.sample import Reject, Sample
from spatialdata_builder.sources.survey.geometry import SurveyAssets
stage = SurveyAssets("objaverse", sys.argv[1])
spec = {"uid": "u", "path": "model.glb", "licence": "by", "creator": "c", "name": "", "category": ""}
began = time.process_time()
(result,) = stage(stage.setup(), [Sample("u", "train", spec)])
outcome = {"reason": result.reason, "detail": result.detail} if isinstance(result, Reject) else {"reason": ""}
(line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
peak = int(line.split()[1]) * 1024
print(json.dumps(outcome | {"peak": peak, "cpu_s": time.process_time() - began}))
"""


def surveyed(folder: Path, data: bytes) -> dict[str, Any]:
    """Survey a model in a separate process. Returns reason (empty: accepted), detail, peak memory, cpu_s."""
    (folder / "model.glb").write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", _SURVEY, str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def image_bytes(side: int = 8, kind: str = "PNG") -> bytes:
    stored = io.BytesIO()
    Image.new("RGB", (side, side), (30, 60, 200)).save(stored, kind)
    return stored.getvalue()


def textured(uri: str) -> bytes:
    def change(model: Model) -> None:
        model.json |= {"images": [{"uri": uri}], "textures": [{"source": 0}]}
        model.json["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}]
        primitive = model.json["meshes"][0]["primitives"][0]
        primitive["attributes"]["TEXCOORD_0"] = model.accessor(CORNERS[:, :2], "VEC2")

    return boxed(change)


def buffered(uri: str) -> bytes:
    """A box whose buffer is in another file."""
    model = Model()
    model.node(mesh=model.mesh(model.box()))
    model.json["buffers"] = [{"byteLength": len(model.binary), "uri": uri}]
    return model.pack()


def box_bytes() -> bytes:
    model = Model()
    model.box()
    return model.binary


OUTSIDE: dict[str, Callable[[Path], str]] = {
    "absolute": lambda secret: str(secret),
    "above": lambda secret: f"../{secret.name}",
    "above, further in": lambda secret: f"sub/../../{secret.name}",
    "escaped": lambda secret: f"%2e%2e/{secret.name}",
    "escaped separator": lambda secret: f"..%2F{secret.name}",
    "escaped absolute": lambda secret: "%2F" + str(secret)[1:],
    "backslashes": lambda secret: f"..\\{secret.name}",
    "file": lambda secret: f"file://{secret}",
    "file, one slash": lambda secret: f"file:{secret}",
    "data without base64": lambda secret: f"data:,/../../{secret.name}",
    "link": lambda secret: "link",
    "folder that is a link": lambda secret: f"away/{secret.name}",
    "web": lambda secret: f"http://127.0.0.1:9/{secret.name}",
    "proc": lambda secret: "/proc/self/environ",
    "device": lambda secret: "/dev/zero",
    "NUL": lambda secret: "a\0b",
    "pipe": lambda secret: "pipe",
    "folder": lambda secret: "sub",
    "words of a message": lambda secret: f"no/does not exist/../../../{secret.name}",
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder of a model. `secret` is in its parent folder; links in the folder point there."""
    folder = tmp_path / "models"
    (folder / "sub").mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "away").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    return folder


def survey(folder: Path, data: bytes) -> Row | Reject:
    (folder / "model.glb").write_bytes(data)
    stage = SurveyAssets("objaverse", str(folder))
    spec = {"uid": "u", "path": "model.glb", "licence": "by", "creator": "c", "name": "", "category": ""}
    (result,) = stage(stage.setup(), [Sample("u", "train", spec)])
    return result


@pytest.mark.parametrize("way", OUTSIDE)
@pytest.mark.parametrize("what", ["image", "buffer", "unused image"])
def test_no_file_outside_the_folder_is_opened(home: Path, way: str, what: str, monkeypatch: pytest.MonkeyPatch):
    secret = home.parent / "secret"
    secret.write_bytes(image_bytes() if "image" in what else box_bytes())
    uri = OUTSIDE[way](secret)
    data = buffered(uri) if what == "buffer" else textured(uri)
    if what == "unused image":
        data = boxed(lambda model: model.json.update(images=[{"uri": uri}]))
    opened: list[str] = []
    read_bytes = Path.read_bytes

    def recorded(path: Path) -> bytes:
        opened.append(str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", recorded)
    found = survey(home, data)
    if what == "unused image" and way in ("file", "file, one slash", "web", "pipe", "folder"):
        assert isinstance(found, Row)  # a name in the folder that does not exist; Blender looks nowhere else
    else:
        assert isinstance(found, Reject) and found.reason == ("unreadable" if what == "buffer" else "missing_textures")
        assert "\n" not in found.detail and len(found.detail) < 400
    assert not opened


@pytest.mark.parametrize("uri", ["sub/inner.png", "sub%2Finner.png", "sub\\inner.png", "./sub/../sub/inner.png", "in"])
def test_files_in_the_folder_are_read(home: Path, uri: str):
    (home / "sub" / "inner.png").write_bytes(image_bytes())
    (home / "in").symlink_to(home / "sub" / "inner.png")
    assert isinstance(survey(home, textured(uri)), Row)


@pytest.mark.parametrize(
    ("uri", "word"),
    [
        ("x" * 100_000, "more characters"),
        ("y" * 300 + "/a.png", "does not exist"),
        ("z" * 300 + ".png", "does not exist"),
        ("x/" * 3_000, "more characters"),
        ("data:image/png;base64,AAAA", "unknown image format"),
        ("data:,", "unknown image format"),
    ],
)
def test_missing_and_invalid_images_are_rejected_with_the_same_message_in_every_run(home: Path, uri: str, word: str):
    found = survey(home, textured(uri))
    assert isinstance(found, Reject) and found.reason == "missing_textures"
    assert word in found.detail and "0x" not in found.detail


def test_a_cache_behind_a_link_is_read(home: Path, tmp_path: Path):
    (home / "sub" / "inner.png").write_bytes(image_bytes())
    (tmp_path / "linked").symlink_to(home)
    assert isinstance(survey(tmp_path / "linked", textured("sub/inner.png")), Row)


@pytest.mark.blender
def test_a_renderer_never_sees_a_model_that_names_a_file_outside(home: Path):
    """The worker checks files again, because they may change between survey and render."""
    from spatialdata_builder.sources.blender.environment import clean_environment
    from spatialdata_builder.sources.blender.process import command

    (home.parent / "secret").write_bytes(image_bytes())
    files = [home / f"{number}.glb" for number in range(3)]
    for file, uri in zip(files, ("../secret", "link", str(home.parent / "secret")), strict=True):
        file.write_bytes(textured(uri))
    script = Path(__file__).parents[1] / "measure_in_blender.py"
    done = subprocess.run(
        [command("")[0], "-I", str(script), str(ROOT), *map(str, files)],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    found = json.loads(done.stdout)["files"]
    assert [found[str(file)]["error"].endswith("is not in the model's folder") for file in files] == [True] * 3


def _accessor(model: Model, **fields: Any) -> None:
    model.json["accessors"].append({"componentType": 5126, "type": "VEC3"} | fields)


def zeros(count: int) -> bytes:
    """Positions without data."""

    def change(model: Model) -> None:
        _accessor(model, count=count)
        model.json["meshes"][0]["primitives"][0]["attributes"]["POSITION"] = 2

    return boxed(change)


def sparse(count: int) -> bytes:
    def change(model: Model) -> None:
        accessor = model.json["accessors"][0]
        places = {"bufferView": 1, "componentType": 5123}
        accessor["sparse"] = {"count": count, "indices": places, "values": {"bufferView": 0}}

    return boxed(change)


def many_parts(nodes: int, vertices: int) -> bytes:
    """The same box with a long list of vertices, in many nodes."""
    model = Model()
    points = np.zeros((vertices, 3), "f4")
    points[:8] = CORNERS
    mesh = model.mesh(model.box(points, FACES))
    for number in range(nodes):
        model.node(mesh=mesh, translation=[number * 0.001, 0, 0])
    return model.pack()


def instances(count: int) -> bytes:
    def change(model: Model) -> None:
        _accessor(model, count=count)
        given = {"EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": 2}}}
        model.json["nodes"][0]["extensions"] = given

    return boxed(change)


def images(side: int, count: int = 1, kind: str = "PNG") -> bytes:
    def change(model: Model) -> None:
        view = model.view(image_bytes(side, kind))
        model.json["images"] = [{"bufferView": view, "mimeType": f"image/{kind.lower()}"}] * count
        model.json["textures"] = [{"source": number} for number in range(count)]
        model.json["materials"] = [
            {"pbrMetallicRoughness": {"baseColorTexture": {"index": number}}} for number in range(count)
        ]
        primitive = model.json["meshes"][0]["primitives"][0]
        primitive["attributes"]["TEXCOORD_0"] = model.accessor(CORNERS[:, :2], "VEC2")
        model.json["meshes"][0]["primitives"] = [primitive | {"material": number} for number in range(count)]

    return boxed(change)


def targets(count: int, vertices: int) -> bytes:
    model = Model()
    points = np.zeros((vertices, 3), "f4")
    points[:8] = CORNERS
    primitive = model.box(points)
    primitive["targets"] = [{"POSITION": primitive["attributes"]["POSITION"]}] * count
    model.node(mesh=model.mesh(primitive, weights=[0.001] * count))
    return model.pack()


def joints(sets: int, vertices: int) -> bytes:
    """A long skinned triangle strip."""
    model = Model()
    points = np.random.default_rng(0).random((vertices, 3)).astype("f4")
    which = model.accessor(np.zeros((vertices, 4)), "VEC4", "u1")
    weights = model.accessor(np.full((vertices, 4), 0.25), "VEC4")
    named = {f"JOINTS_{n}": which for n in range(sets)} | {f"WEIGHTS_{n}": weights for n in range(sets)}
    primitive = {"attributes": {"POSITION": model.accessor(points, "VEC3")} | named, "mode": 5, "material": 0}
    model.json["skins"] = [{"joints": [model.node()]}]
    model.node(mesh=model.mesh(primitive), skin=0)
    return model.pack()


def long_json(text: bytes) -> bytes:
    """A GLB with this text as `extras` of its JSON."""
    inner = b'{"asset":{"version":"2.0"},"extras":' + text + b"}"
    return glb(inner, b"")


def channels(count: int) -> bytes:
    def change(model: Model) -> None:
        model.json["animations"] = [
            {
                "samplers": [{"input": 0, "output": 0}],
                "channels": [{"sampler": 0, "target": {"node": 0, "path": "scale"}}] * count,
            }
        ]
        model.json["accessors"][0] |= {"count": 8}

    return boxed(change)


def named(attributes: int, count: int) -> bytes:
    """Attributes without data that the survey does not read. Blender allocates arrays for all of them."""

    def change(model: Model) -> None:
        first = len(model.json["accessors"])
        model.json["accessors"] += [{"componentType": 5126, "count": count, "type": "VEC4"}] * attributes
        names = model.json["meshes"][0]["primitives"][0]["attributes"]
        names |= {f"_{number}": first + number for number in range(attributes)}

    return boxed(change)


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "positions without data": (lambda: zeros(40_000_000), "too_large"),
    "positions without data, up to the limit": (lambda: zeros(4_000_000), "degenerate"),
    "huge count": (lambda: zeros(2**62), "too_large"),
    "sparse beyond the file": (lambda: sparse(40_000_000), "unreadable"),
    "one mesh in many nodes": (lambda: many_parts(160, 3_000_000), ""),
    "too many parts": (lambda: many_parts(21_000, 8), "too_large"),
    "too many nodes": (lambda: boxed(lambda m: m.json["nodes"].extend([{}] * 60_000)), "too_large"),
    "instances without data": (lambda: instances(4_000_000), "too_large"),
    "a huge image": (lambda: images(13_000), "too_large"),
    "the largest image": (lambda: images(8_192), ""),
    "many images": (lambda: images(4_096, 40), "too_large"),
    "a few images": (lambda: images(4_096, 20, "JPEG"), ""),
    "one image with many names": (lambda: images(2_048, 120), ""),
    "many morph targets": (lambda: targets(5_000, 100_000), "too_large"),
    "morph targets up to the limit": (lambda: targets(160, 100_000), ""),
    "a long skin": (lambda: joints(3, 299_000), ""),
    "many joints": (lambda: joints(30, 1_000), "too_large"),
    "deep JSON": (lambda: long_json(b"[" * 200_000 + b"]" * 200_000), "unreadable"),
    "wide JSON": (lambda: long_json(b"[" + b"{}," * 5_000_000 + b"1]"), "no_geometry"),
    "long JSON": (lambda: long_json(b"[" + b"{}," * 6_000_000 + b"1]"), "unreadable"),
    "long numbers": (lambda: long_json(b"9" * 5_000_000), "unreadable"),
    "an attribute of an application": (lambda: named(1, 2**40), "too_large"),
    "many attributes": (lambda: named(60, 3_900_000), "too_large"),
    "many channels": (lambda: channels(100_000), "animated"),
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.slow
def test_no_file_takes_a_gigabyte_or_a_minute(tmp_path: Path, bomb: str):
    make, reason = BOMBS[bomb]
    found = surveyed(tmp_path, make())
    assert found["reason"] == reason, found
    assert found["peak"] < GIB and found["cpu_s"] < 60, found


def test_a_file_that_is_too_long_is_not_read(tmp_path: Path):
    path = tmp_path / "model.glb"
    with path.open("wb") as file:
        file.write(b"glTF\2\0\0\0" + (300 * 2**20).to_bytes(4, "little"))
        file.truncate(300 * 2**20)
    with pytest.raises(GlbError, match="too_large"):
        open_glb(path)
