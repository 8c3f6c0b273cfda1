"""The gallery of shards without a build: any recipe, any codec, any place."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spatialdata_builder.pipeline.report.gallery.from_shards import Shard, ShardSamples
from spatialdata_builder.shards.layout import join
from spatialdata_builder.shards.recipes import get_recipe
from tests.pipeline.command_line import assert_fails, run
from tests.pipeline.report.gallery.conftest import values_of
from tests.shards.conftest import bucket
from tests.shards.factory import make_split, out_of
from tests.shards.test_versions import with_supports

__all__ = ["bucket"]

Index = Callable[[Path], dict[str, Any]]


@pytest.mark.parametrize("recipe", ["full", "spatialdiff", "ildm", "spatialfusion"])
def test_each_recipe_with_its_members(recipe: str, tmp_path: Path, index_of: Index):
    folder = out_of(tmp_path, recipe=recipe)
    make_split(folder, [["a-1", "a-2"], ["b-1"]], recipe=get_recipe(recipe))
    result = run("view", tmp_path, "--out", tmp_path / "g")
    assert result.code == 0, result
    index = index_of(tmp_path / "g")
    assert index["key"] == ["a-1", "a-2", "b-1"]
    assert set(index["fields"]) == set(get_recipe(recipe).fields()) - {"json"}
    assert index["about"]["recipe"] == recipe
    assert index["about"]["size"] == [24, 24]
    _, cards = values_of(tmp_path / "g" / "data" / "00000.js")
    assert cards[0]["media"] == sorted(set(get_recipe(recipe).fields()) - {"json"})
    assert cards[0]["shard"] == "trial-train-00000-of-00002.tar"
    assert cards[0]["made_from"] == ["pair-0"]


def test_scenes_and_supports_are_columns(tmp_path: Path, index_of: Index):
    folder = out_of(tmp_path)
    make_split(folder, [["a", "b"]], changes={"a": with_supports("a")})
    assert run("view", tmp_path, "--out", tmp_path / "g").code == 0
    index = index_of(tmp_path / "g")
    shown = [(index["scenes"][a], index["supports"][b]) for a, b in zip(index["scene"], index["support"], strict=True)]
    assert shown == [("room", "floor to shelf"), ("", "")]


def test_jpeg_pictures(finished: Path, tmp_path: Path, index_of: Index):
    out = shutil.copytree(finished, tmp_path / "out")
    assert run("shard", out, "--recipe", "spatialedit", "--set", "shard.codecs.image=jpg").code == 0
    assert run("view", out, "--recipe", "spatialedit").code == 0
    index = index_of(out / "gallery-spatialedit")
    assert {"source.jpg", "target.jpg"} <= set(index["fields"])
    assert list((out / "gallery-spatialedit" / "media").rglob("*.source.jpg"))


def test_default_places(finished: Path, tmp_path: Path, index_of: Index):
    out = shutil.copytree(finished, tmp_path / "out")
    for path, place in (
        (out / "shards" / "full", out / "gallery-full"),
        (out / "shards" / "full" / "test", out / "gallery-full-test"),
        (out / "shards", out / "gallery-shards"),
    ):
        assert str(place / "index.html") in run("view", path).out
    assert {index_of(out / "gallery-full-test")["splits"][n] for n in index_of(out / "gallery-full-test")["split"]} == {
        "test"
    }
    copy = shutil.copytree(out / "shards" / "full", tmp_path / "elsewhere" / "full")
    assert run("view", copy).code == 0
    assert len(index_of(tmp_path / "elsewhere" / "full-gallery")["key"]) == 16
    assert_fails(run("view", out, "--recipe", "ildm"), "ildm", "spatialdata shard")


def test_a_limit_takes_samples_from_all_shards(tmp_path: Path, index_of: Index):
    folder = join(str(tmp_path), "full", "train")
    make_split(folder, [[f"s{shard}-{number}" for number in range(5)] for shard in range(4)])
    result = run("view", folder, "--out", tmp_path / "g", "--limit", "6")
    assert "6 of 20 samples" in result.out
    assert index_of(tmp_path / "g")["key"] == ["s0-0", "s0-1", "s1-0", "s1-1", "s2-0", "s3-0"]


@pytest.mark.parametrize(
    ("shards", "each", "limit"), [(1000, 16, 10_000), (3, 1000, 10_000), (5000, 1000, 100), (1, 9, 3)]
)
def test_the_number_of_samples_for_any_number_of_shards(shards: int, each: int, limit: int):
    found = ShardSamples("x", "full", ("train",), tuple(Shard(str(number), each) for number in range(shards)))
    chosen = found.chosen(limit)
    assert sum(count for _, count in chosen) == min(limit, shards * each)
    assert all(0 < count <= each for _, count in chosen)
    assert len({shard.url for shard, _ in chosen}) == len(chosen) >= min(shards, limit, 64)
    assert int(chosen[-1][0].url) >= shards * 0.95 - 1


def test_shards_without_a_manifest(tmp_path: Path, index_of: Index):
    folder = join(str(tmp_path), "full", "train")
    make_split(folder, [["a-1", "a-2"], ["b-1"]])
    (Path(folder) / "manifest.json").unlink()
    assert run("view", folder, "--out", tmp_path / "g").code == 0
    assert index_of(tmp_path / "g")["key"] == ["a-1", "a-2", "b-1"]


def test_a_damaged_shard_is_named(tmp_path: Path):
    folder = join(str(tmp_path), "full", "train")
    make_split(folder, [["a-1", "a-2"]])
    (tar,) = Path(folder).glob("*.tar")
    tar.write_bytes(tar.read_bytes()[:9000])
    assert_fails(run("view", folder, "--out", tmp_path / "g"), tar.name, "a-1", code=1)
    assert not (tmp_path / "g").exists()


def test_an_object_store(tmp_path: Path, bucket: str, index_of: Index):
    make_split(join(bucket, "full", "train"), [["a-1", "a-2"]])
    result = run("view", bucket, "--out", tmp_path / "g")
    assert result.code == 0, result
    assert index_of(tmp_path / "g")["key"] == ["a-1", "a-2"]


def test_a_build_in_an_object_store(finished: Path, tmp_path: Path, bucket: str, index_of: Index):
    import s3fs

    s3fs.S3FileSystem().put(f"{finished}/", f"{bucket}/out/", recursive=True)
    assert run("view", f"{bucket}/out", "--out", tmp_path / "remote").code == 0
    assert run("view", finished, "--out", tmp_path / "local").code == 0
    remote, local = index_of(tmp_path / "remote"), index_of(tmp_path / "local")
    assert remote["about"].pop("place") == f"{bucket}/out"
    assert remote["about"].pop("why") == f"{bucket}/out"
    assert remote["about"] == {name: value for name, value in local["about"].items() if name not in ("place", "why")}
    assert {**remote, "about": 0} == {**local, "about": 0}
    media = {
        path.relative_to(tmp_path / "local"): path.read_bytes() for path in (tmp_path / "local").rglob("media/*/*")
    }
    assert len(media) > 100
    assert media == {name: (tmp_path / "remote" / name).read_bytes() for name in media}
