"""Stages of a user's package, which is outside of the checkout and only on the path."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from spatialdata_builder.pipeline.config import load_config
from spatialdata_builder.pipeline.opened import Build, open_build
from spatialdata_builder.pipeline.planning.samples import pair_arguments
from spatialdata_builder.pipeline.plug_ins import path_of, places
from spatialdata_builder.pipeline.registry import build_stages
from spatialdata_builder.pipeline.store.fingerprints import layer_dirs
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.shards import codecs
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.index import read_manifest
from spatialdata_builder.shards.reader import read_record, read_samples
from spatialdata_builder.shards.stage import Stage, member_views
from spatialdata_builder.shards.streaming.dataset import stream
from tests.pipeline.command_line import assert_fails, build, run
from tests.pipeline.plugged import CANNY, CAPTION, NAME, OWN, worked_example


def stages_of(out: Path, *settings: str) -> dict[str, Stage]:
    config = load_config(None, settings)
    return {stage.layer: stage for stage in build_stages(config, pair_arguments(config, LayerStore(str(out))))}


def shards_of(out: Path) -> list[Path]:
    return sorted(out.glob("shards/full/*/*.tar"))


def layer_files(out: Path, layer: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob(f"layers/{layer}-*/*.parquet"))}


def test_the_page_shows_the_whole_package():
    assert set(worked_example()) == {f"{NAME}/canny.py", f"{NAME}/caption.py"}


@pytest.mark.slow
def test_a_users_own_line_layer(owned: Path):
    looked = 0
    for shard in shards_of(owned):
        for sample in read_samples(str(shard)):
            record = read_record(sample.members["json"])
            for view, name in (("target", "line"), ("source", "source_line")):
                image = codecs.decode_image(sample.members[view])
                drawn = codecs.decode_lines(sample.members[name])
                assert np.array_equal(drawn, 255 - cv2.Canny(image, 100.0, 200.0))
                info = record.maps.line if view == "target" else record.maps.source_line
                assert (info.estimator, info.revision, info.kind) == ("Canny", "1", "lines")
                looked += 1
    assert looked >= 2


@pytest.mark.ray
def test_workers_of_a_local_ray_import_it(release: Path, owned: Path, tmp_path: Path):
    """The package is neither installed nor in the environment: only the driver's path has it."""
    result = build(release, tmp_path / "out", f"layers.line={CANNY}", f"layers.caption={CAPTION}", "engine.kind=ray")
    assert result.code == 0, result
    for layer in ("line", "caption"):
        found = layer_files(tmp_path / "out", layer)
        assert found and found == layer_files(owned, layer)


def test_import_path_options_and_version_are_in_the_fingerprint(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def folder(*settings: str) -> str:
        config = load_config(None, ("source.kind=procedural", *settings))
        store = LayerStore(str(tmp_path))
        return layer_dirs(build_stages(config, pair_arguments(config, store)))["line"]

    mine = folder(f"layers.line={CANNY}")
    assert folder(f"layers.line={CANNY}") == mine
    assert folder(f"layers.line={CANNY}", "layers.line.low=50") != mine
    shutil.copy(package / NAME / "canny.py", package / NAME / "copied.py")
    assert folder(f"layers.line={NAME}.copied:Canny") != mine
    stage = stages_of(tmp_path, f"layers.line={CANNY}")["line"]
    assert path_of(stage) == CANNY
    monkeypatch.setattr(type(stage), "version", 2)
    assert folder(f"layers.line={CANNY}") != mine


def test_the_packages_own_stages_have_no_import_path(tmp_path: Path):
    stages = stages_of(tmp_path)
    assert {path_of(stage) for stage in stages.values()} == {""}
    assert places(stages.values()) == ()


def test_where_a_package_lies(package: Path, tmp_path: Path):
    (package / "single.py").write_text((package / NAME / "canny.py").read_text())
    found = stages_of(tmp_path, f"layers.line={CANNY}", f"layers.caption={CAPTION}")
    assert places(found.values()) == (package / NAME,)
    alone = stages_of(tmp_path, "layers.line=single:Canny")
    assert places(alone.values()) == (package / "single.py",)


def test_own_layers_are_members(owned: Path):
    members = {
        "bands.png",
        "caption.txt",
        "numbers.json",
        "soft.webp",
        "source_numbers.json",
        "source_soft.webp",
    }
    for split in {shard.parent for shard in shards_of(owned)}:
        assert members <= set(read_manifest(str(split)).members)
        assert not [name for name in read_manifest(str(split)).members if name.startswith("picky")]
    sample = next(read_samples(str(shards_of(owned)[0])))
    image = codecs.decode_image(sample.members["target"])
    record = read_record(sample.members["json"])
    names = " and ".join(item.name for item in record.objects)
    assert sample.members["caption"].decode() == f"A scene with {names}."
    assert np.array_equal(codecs.decode_labels(sample.members["bands"]), image[..., 0] // 64)
    assert np.array_equal(codecs.decode_image(sample.members["soft"]), cv2.GaussianBlur(image, (5, 5), 1))
    assert json.loads(sample.members["numbers"]) == {"mean": float(image.mean())}


def test_a_layer_without_a_member_still_rejects(owned: Path):
    keys = [sample.key for shard in shards_of(owned) for sample in read_samples(str(shard))]
    assert keys and not [key for key in keys if "uid003" in key]
    result = run("status", owned, "--json")
    assert result.code == 0, result
    assert "uid003" in result.out
    other = run("shard", owned, "--recipe", "spatialedit", "--json")
    assert other.code == 0, other
    spatialedit = [sample.key for tar in owned.glob("shards/spatialedit/*/*.tar") for sample in read_samples(str(tar))]
    assert spatialedit and not [key for key in spatialedit if "uid003" in key]
    shutil.rmtree(owned / "shards" / "spatialedit")
    (owned / "shards" / ".made" / "spatialedit.json").unlink()


def test_they_are_streamed_by_name(owned: Path):
    members = ["target", "caption", "bands", "soft", "numbers"]
    opened = stream(owned, "full", split="train", members=members, threads=1)
    seen = 0
    for batch in opened.batches(2):
        assert [text.startswith("A scene with ") for text in batch["caption"]] == [True] * 2
        assert (batch["bands"].dtype, batch["soft"].dtype) == (np.uint16, np.uint8)
        for slot, target in enumerate(batch["target"]):
            assert np.array_equal(batch["bands"][slot], target[..., 0] // 64)
            assert np.array_equal(batch["soft"][slot], cv2.GaussianBlur(target, (5, 5), 1))
            assert batch["numbers"][slot] == {"mean": float(target.mean())}
            seen += 1
    assert seen
    plain = next(stream(owned, "full", split="train", threads=1).batches(2))
    assert "bands" not in plain
    assert not [text for text in plain["caption"] if text.startswith("A scene with ")]


@pytest.mark.slow
def test_they_are_verified(owned: Path, tmp_path: Path):
    assert run("verify", owned).code == 0
    out = shutil.copytree(owned, tmp_path / "out")
    shard = next(path for path in shards_of(out) if path.parent.name == "train")
    shard.write_bytes(shard.read_bytes().replace(b"A scene with ", b"A scene \xff\xfe\xfa\xfb ", 1))
    result = run("verify", out)
    assert result.code == 1
    assert "caption.txt" in result.out + result.err
    repaired = run("verify", out, "--repair")
    assert repaired.code == 0, repaired
    assert shard.read_bytes() == (owned / shard.relative_to(out)).read_bytes()


def test_card_sidecars_why_and_audit_name_them(owned: Path):
    card = (owned / "shards" / "full" / "README.md").read_text()
    assert "| `caption.txt` | text of the layer `caption` |" in card
    assert "| `source_soft.webp` | an image of the layer `soft` (of the source) |" in card
    assert CANNY in card and CAPTION in card
    croissant = json.loads((owned / "shards" / "full" / "croissant.json").read_text())
    (files,) = (found for found in croissant["distribution"] if found["@id"] == "files-caption")
    assert (files["encodingFormat"], files["includes"]) == ("text/plain", "*.caption.txt")
    result = run("why", owned, "translate-train-uid000")
    assert result.code == 0 and "caption" in result.out
    audit = json.loads(run("audit", owned, "--json").out)
    assert audit["own"]["caption"]["samples"] == audit["samples"] == 16
    assert audit["own"]["soft"]["type"] == "webp"
    assert audit["layers"]["line"]["estimators"][0]["estimator"] == "Canny"
    assert "caption: 16 samples with a member of type txt; there is no exact map" in run("audit", owned).out


def test_an_untouched_build_of_them_resumes(release: Path, owned: Path, tmp_path: Path):
    out = shutil.copytree(owned, tmp_path / "out")
    result = build(release, out, f"layers.line={CANNY}", *OWN)
    assert result.code == 0, result
    for shard in shards_of(owned):
        copied = out / shard.relative_to(owned)
        assert copied.stat().st_mtime_ns == shard.stat().st_mtime_ns


@pytest.mark.slow
def test_a_stage_without_views_is_packed(release: Path, package: Path, tmp_path: Path):
    out = tmp_path / "out"
    result = build(release, out, f"layers.line={NAME}.more:Bare")
    assert result.code == 0, result
    opened: Build = open_build(str(out))
    assert member_views(next(stage for stage in opened.stages if stage.layer == "line")) == ("target",)
    members = read_manifest(str(shards_of(out)[0].parent)).members
    assert "line.png" in members and "source_line.png" not in members


def test_a_stage_that_returns_another_column_is_named(release: Path, package: Path, tmp_path: Path):
    result = build(release, tmp_path / "out", f"layers.note={NAME}.more:Forgetful")
    assert_fails(result, "Forgetful", "'note'", "returned no str in column 'note'", code=1)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (f"layers.line={NAME}.cany:Canny", ["layers.line.stage", f"no module '{NAME}.cany'", "PYTHONPATH"]),
        ("layers.line=nopackage.x:Canny", ["layers.line.stage", "no module 'nopackage'"]),
        (f"layers.line={NAME}.canny:Cany", ["layers.line.stage", "no class 'Cany'", "did you mean 'Canny'?"]),
        (f"layers.line={NAME}.canny:", ["layers.line.stage", "package.module:Class"]),
        (f"layers.line={NAME}.raises:Canny", ["layers.line.stage", "RuntimeError: out of order"]),
        (f"layers.line={NAME}.lacks:Canny", ["layers.line.stage", "needs module 'not_installed'"]),
        (f"layers.line={NAME}.wrong:Loose", ["layers.line.stage", "is not a stage", "shards.stage.Stage"]),
        (f"layers.line={NAME}.wrong:Idle", ["layers.line.stage", "it lacks version, __call__"]),
        (f"layers.line={NAME}.wrong:Plain", ["layers.line.stage", "@dataclass(frozen=True)"]),
        (f"layers.sound={NAME}.wrong:Sound", ["layers.sound.stage", "member is 'wav'", "txt, json, png, webp"]),
        (f"layers.depth={CANNY}", ["layers.depth.stage", "computes layer 'line'", "layers.line"]),
        (f"layers.line={{stage: '{CANNY}', lo: 1}}", ["unknown key 'layers.line.lo'", "did you mean 'low'?"]),
        (f"layers.line={{stage: '{CANNY}', low: much}}", ["layers.line.low", "'much'"]),
        (f"layers.line={{stage: '{CANNY}', views: []}}", ["layers.line.views", "source, target or both"]),
        (f"layers.pair={CANNY}", ["layers.pair", "source.kind"]),
        (f"layers.source_x={CAPTION}", ["layers.source_x", "not allowed as a layer name"]),
        (f"layers.confidence={CAPTION}", ["layers.confidence", "not allowed as a layer name"]),
        (f"layers.My-Layer={CAPTION}", ["layers.My-Layer", "not allowed as a layer name"]),
        ("layers.captoin=caption", ["unknown key 'layers.captoin'", "allowed: pair"]),
        ("engine.resources.caption.cpus=1", ["unknown key 'engine.resources.caption'"]),
    ],
)
def test_errors_are_one_line(package: Path, tmp_path: Path, setting: str, words: list[str]):
    with pytest.raises(BadInput) as caught:
        stages_of(tmp_path, setting)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_resources_of_an_own_layer(package: Path, tmp_path: Path):
    stages = stages_of(tmp_path, f"layers.line={CANNY}", "engine.resources.line.cpus=2")
    assert stages["line"].cpus == 2
    config = load_config(None, (f"layers.caption={CAPTION}", "engine.resources.caption.actors=3"))
    assert config.engine.resources["caption"].actors == 3
