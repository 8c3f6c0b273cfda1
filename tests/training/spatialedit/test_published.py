"""SpatialEdit's published layout, written by our export and by others."""

import gzip
import io
import json
import pickle
import tarfile
import warnings

import numpy as np
import pytest
import torch
from fsspec.implementations.local import LocalFileSystem

from spatialdata_builder.shards.codecs import decode_image, encode_image
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.index import pack_shard, write_manifest
from spatialdata_builder.shards.interop import spatialedit
from spatialdata_builder.shards.interop.spatialedit import draw_box
from spatialdata_builder.shards.layout import shard_name
from spatialdata_builder.shards.reader import ShardError
from spatialdata_builder.shards.recipes import get_recipe
from spatialdata_builder.training.spatialedit.published import stream_published
from tests.shards.factory import out_of
from tests.shards.interop.conftest import edited, pack
from tests.training.spatialedit.conftest import build, opened, rng_of

KINDS = ("translate", "rotate", "camera", "scale")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """20 samples of four edit kinds in three families, with at least two tars each."""
    root = tmp_path_factory.mktemp("published")
    pack(root / "out", {f"s-{n:02d}": edited(f"s-{n:02d}", KINDS[n % 4]) for n in range(20)})
    spatialedit.export(str(root / "out"), str(root / "se"), samples_per_tar=3)
    return root / "se" / "train"


def files_of(folder):
    """Every member of every tar by key, read with tarfile only."""
    found = {}
    for path in sorted(folder.rglob("*.tar")):
        with tarfile.open(path) as tar:
            for info in tar:
                key, _, field = info.name.partition(".")
                found.setdefault(key, {})[field] = tar.extractfile(info).read()
    return found


def keys_of(batches):
    return [key for batch in batches for key in batch["key"]]


def test_every_sample_is_read_back_pixel_for_pixel(published):
    files = files_of(published)
    assert len(files) == 20
    seen = set()
    for batch in stream_published(str(published), seed=3).batches(5):
        for key, source, target, words in zip(
            batch["key"], batch["source"], batch["target"], batch["instruction"], strict=True
        ):
            np.testing.assert_array_equal(source, decode_image(files[key]["0.jpg"]))
            np.testing.assert_array_equal(target, decode_image(files[key]["1.jpg"]))
            assert words == json.loads(files[key]["json"])["metadata"]["instruction"]
            seen.add(key)
        assert batch["valid"].all()
    assert seen == set(files)


def test_inputs_equal_those_from_our_shards(tmp_path):
    """The export is lossless for JPEGs without a box, so the inputs are equal."""
    members = edited("s-1", "rotate", view="the front view.")
    for name in ("source", "target"):
        image = decode_image(members.pop(f"{name}.webp"))
        members[f"{name}.jpg"] = encode_image(image, "jpg")
    folder = tmp_path / "out"
    recipe = get_recipe("spatialedit")
    fields = recipe.fields("jpg")
    kept = {name: members[name] for name in fields}
    entry = pack_shard(out_of(folder, recipe="spatialedit"), shard_name("t", "train", 0, 1), iter([("s-1", kept)]))
    write_manifest(
        out_of(folder, recipe="spatialedit"),
        name="t",
        recipe="spatialedit",
        split="train",
        members=fields,
        shards=[entry],
    )
    spatialedit.export(str(folder), str(tmp_path / "se"))
    ours, _ = build()
    theirs, _ = build(layout="published")
    inputs = []
    for trained, url in ((ours, folder), (theirs, tmp_path / "se")):
        batch = next(opened(trained, str(url), cache="").batches(1))
        inputs.append(trained.prepare(batch, rng_of(batch)))
    assert inputs[0].keys() == inputs[1].keys()
    assert all(torch.equal(inputs[0][name], inputs[1][name]) for name in inputs[0])


def test_boxes_are_drawn_once(published):
    recipe, _ = build(layout="published")
    batch = next(opened(recipe, str(published), order="stored").batches(20))
    for index, key in enumerate(batch["key"]):
        shown, _, words = recipe.model_view(batch, index)
        np.testing.assert_array_equal(shown, batch["source"][index])
        box = draw_box(np.zeros_like(shown), [40, 12, 52, 26])[..., 0] == 255
        red = shown[box].astype(int)
        boxed = (red[:, 0] - red[:, 1:].max(axis=1)).mean() > 100
        assert boxed == ("red box" in words) == (int(key[2:]) % 4 in (0, 3))


def test_order_depends_on_the_seed_and_is_shared_among_ranks(published):
    one = keys_of(stream_published(str(published), seed=1).batches(4))
    assert keys_of(stream_published(str(published), seed=1, threads=1, prefetch=0).batches(4)) == one
    assert keys_of(stream_published(str(published), seed=2).batches(4)) != one
    halves = [keys_of(stream_published(str(published), seed=1, rank=rank, world=2).batches(2)) for rank in (0, 1)]
    assert sorted(halves[0] + halves[1]) == sorted(one)
    assert halves[0][:2] + halves[1][:2] == one[:4]


def test_the_stream_resumes_exactly(published):
    whole = stream_published(str(published), seed=5)
    batches = whole.batches(4, epochs=2)
    first = [next(batches)["key"] for _ in range(3)]
    state = json.loads(json.dumps(whole.state_dict()))
    rest = keys_of(batches)
    other = stream_published(str(published), seed=5)
    other.load_state_dict(state)
    assert keys_of(other.batches(4, epochs=2)) == rest
    assert len(first) * 4 + len(rest) == 40
    with pytest.raises(BadInput, match="its seed is 5, here it is 6"):
        stream_published(str(published), seed=6).load_state_dict(state)


def test_a_state_of_other_tars_is_an_error(published, tmp_path):
    state = stream_published(str(published)).state_dict()
    with pytest.raises(BadInput, match="its sets is"):
        stream_published(str(published / "move")).load_state_dict(state)
    again = tmp_path / "copy"
    for path in published.rglob("*.tar"):
        (again / path.parent.name).mkdir(parents=True, exist_ok=True)
        (again / path.parent.name / path.name).write_bytes(path.read_bytes())
    stream_published(str(again)).load_state_dict(state)


def test_a_pickled_stream_keeps_its_position(published):
    stream = stream_published(str(published), seed=5, side=48)
    batches = stream.batches(4)
    next(batches)
    copy = pickle.loads(pickle.dumps(stream))
    assert keys_of(copy.batches(4)) == keys_of(batches)


def test_resized_float_images(published):
    batch = next(stream_published(str(published), side=32, images="float").batches(4))
    assert batch["source"].shape == (4, 32, 32, 3)
    assert batch["source"].dtype == np.float32
    assert -1 <= batch["source"].min() < batch["source"].max() <= 1


def tar_of(path, files, form=tarfile.GNU_FORMAT):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def picture(height=32, width=32, value=90):
    return encode_image(np.full((height, width, 3), value, np.uint8), "jpg")


def record_of(text, **more):
    turns = [{"from": "human", "value": f"<image>\n{text}"}, {"from": "gpt", "value": "<image>"}]
    return json.dumps({"conversations": turns, **more}).encode()


def test_tars_written_by_others(tmp_path):
    """Long and unusual keys, any member order, texts only in conversations, images of several sizes."""
    key = "Scene_" + "x" * 120
    files = {
        f"{key}.1.jpg": picture(40, 60, 20),
        f"{key}.0.jpg": picture(40, 60, 200),
        f"{key}.json": record_of("Move it."),
        "dir/B.json": record_of("", metadata={"instruction": "Turn it.", "instruction_human": "Please turn it."}),
        "dir/B.0.jpg": picture(),
        "dir/B.1.jpg": picture(),
        "dir/B.txt": b"ignored",
    }
    tar_of(tmp_path / "move" / "worker3-000001.tar", files)
    batch = next(stream_published(str(tmp_path), order="stored", side=32).batches(2))
    assert batch["key"] == [key, "dir/B"]
    assert batch["instruction"] == ["Move it.", "Turn it."]
    assert abs(batch["source"][0].mean() - 200) < 2
    assert abs(batch["target"][0].mean() - 20) < 2
    spoken = stream_published(str(tmp_path), order="stored", side=32, instruction="any")
    assert {words for batch in spoken.batches(2, epochs=12) for words in batch["instruction"]} == {
        "Move it.",
        "Turn it.",
        "Please turn it.",
    }
    with pytest.raises(BadInput, match=r"images of 60 x 40 and 32 x 32.*buckets=True"):
        stream_published(str(tmp_path), order="stored", on_error="skip")
    with pytest.raises(BadInput, match="do not say which samples share a scene"):
        stream_published(str(tmp_path), one_per_family=True)
    apart = stream_published(str(tmp_path), order="stored", buckets=True).batches(1)
    assert {batch["source"].shape for batch in apart} == {(1, 40, 60, 3), (1, 32, 32, 3)}


def test_incomplete_samples(tmp_path):
    whole = {"a.0.jpg": picture(), "a.1.jpg": picture(), "a.json": record_of("Move it.")}
    tar_of(tmp_path / "0.tar", {**whole, "b.0.jpg": picture(), "b.json": record_of("Move it.")})
    with pytest.raises(BadInput, match=r"1 samples are incomplete \(0.tar b: 1 images instead of 2\)"):
        stream_published(str(tmp_path))
    with pytest.warns(UserWarning, match="1 samples are incomplete .*: skipped"):
        assert stream_published(str(tmp_path), on_error="skip").samples == 1
    tar_of(tmp_path / "0.tar", {**whole, "c.0.jpg": picture(), "c.1.jpg": b"no jpeg", "c.json": record_of("x")})
    with pytest.raises(ShardError, match="sample c: member target cannot be decoded"):
        list(stream_published(str(tmp_path), order="stored").batches(1))
    with pytest.warns(UserWarning, match="skipped"):
        batch = next(stream_published(str(tmp_path), order="stored", on_error="skip").batches(2))
    assert batch["key"] == ["a", "a"]
    assert batch["valid"].tolist() == [True, False]
    tar_of(tmp_path / "0.tar", {**whole, "a.json": record_of("")})
    with pytest.raises(ShardError, match="its json has no instruction"):
        next(stream_published(str(tmp_path)).batches(1))


def test_folders_without_samples_and_truncated_tars(tmp_path):
    with pytest.raises(BadInput, match="holds no tars"):
        stream_published(str(tmp_path))
    tar_of(tmp_path / "0.tar", {"a.txt": b"words"})
    with pytest.raises(BadInput, match="no samples in SpatialEdit's layout"):
        stream_published(str(tmp_path))
    tar_of(tmp_path / "0.tar", {"a.0.jpg": picture(), "a.1.jpg": picture(), "a.json": record_of("Move it.")})
    with tarfile.open(tmp_path / "0.tar") as tar:
        end = tar.getmembers()[-1].offset
    data = (tmp_path / "0.tar").read_bytes()
    for length in (1600, end, end + 512):
        (tmp_path / "0.tar").write_bytes(data[:length])
        with pytest.raises(BadInput, match=r"0\.tar is truncated"):
            stream_published(str(tmp_path))


def test_weighted_sets_are_sampled_in_proportion(published):
    urls = {str(published / "move"): 3.0, str(published / "camera"): 1.0}
    stream = stream_published(urls, seed=1)
    keys = keys_of(stream.batches(4, epochs=100))
    moves = sum(int(key[2:]) % 4 in (0, 3) for key in keys)
    assert moves / len(keys) == pytest.approx(0.75, abs=0.02)


def keys_in(folder, **options):
    return sorted(keys_of(stream_published(str(folder), **options).batches(1)))


def sample_files(key, extension="jpg", value=90):
    files = {f"{key}.{index}.{extension}": picture(value=value + index) for index in (0, 1)}
    return files | {f"{key}.json": record_of(f"Move {key}.")}


def test_keys_with_dots_and_uppercase_extensions(tmp_path):
    """Names with numbers, versions and camera-style extensions: nothing is left out, and there is no warning."""
    keys = ["a_0001", "scene_0.5x_0002", "v1.2-0004", "s.1", "s.2", "train.v1/b.3", ".hidden"]
    files = {name: data for key in keys for name, data in sample_files(key).items()}
    files |= {"./dot/c.0.JPG": picture(), "./dot/c.1.JPEG": picture(), "./dot/c.JSON": record_of("Turn it.")}
    tar_of(tmp_path / "move" / "worker0-000000.tar", files)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*files ignored")
        assert keys_in(tmp_path) == sorted([*keys, "dot/c"])


def test_ignored_files_are_counted_and_named(tmp_path):
    junk = {"._a.0.jpg": b"x", "__MACOSX/a.0.jpg": b"x", "PaxHeaders.12/a.0.jpg": b"x", ".DS_Store": b"x"}
    tar_of(tmp_path / "move" / "0.tar", {**sample_files("a"), **junk})
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*files ignored")
        assert keys_in(tmp_path) == ["a"]
    tar_of(tmp_path / "move" / "0.tar", {**sample_files("a"), "a.txt": b"x", "b.0.tiff": b"x"})
    with pytest.warns(UserWarning, match=r"2 files ignored: move/0.tar a.txt, move/0.tar b.0.tiff"):
        assert keys_in(tmp_path) == ["a"]
    tar_of(tmp_path / "move" / "0.tar", sample_files("a") | sample_files("b", "bmp"))
    with (
        pytest.warns(UserWarning, match=r"b.0.bmp"),
        pytest.raises(BadInput, match="b: 0 images instead of 2"),
    ):
        keys_in(tmp_path)
    tar_of(tmp_path / "move" / "0.tar", sample_files("a"))
    tar_of(tmp_path / "move" / "1.tar", sample_files("a"))
    tar_of(tmp_path / "turn" / "0.tar", sample_files("a"))
    with pytest.warns(UserWarning, match=r"move/1.tar a \(not ignored: the key is also in move/0.tar\)"):
        assert keys_in(tmp_path) == ["a", "a", "a"]


def test_a_duplicate_member_and_links(tmp_path):
    """As written by `tar -r`: the last member of a name counts."""
    path = tmp_path / "move" / "0.tar"
    tar_of(path, sample_files("a", value=10))
    with tarfile.open(path, "a") as tar:
        data = picture(value=200)
        info = tarfile.TarInfo("a.0.jpg")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("c.0.jpg")
        link.type, link.linkname = tarfile.LNKTYPE, "a.0.jpg"
        tar.addfile(link)
    with pytest.warns(UserWarning, match=r"a.0.jpg \(replaced by a later a.0.jpg\), move/0.tar c.0.jpg \(a link"):
        batch = next(stream_published(str(tmp_path)).batches(1))
    assert abs(batch["source"].mean() - 200) < 2


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_only_the_bytes_of_members_are_read(tmp_path, monkeypatch, form):
    """With all images first and all records last, only the members are read, not the range that they span."""
    keys = [f"Schlüssel-{n:03d}" for n in range(60)]
    noise = np.random.default_rng(0)
    pictures = [encode_image(noise.integers(0, 256, (64, 64, 3), dtype=np.uint8), "jpg") for _ in range(120)]
    images = {f"{key}.{i}.jpg": pictures[2 * n + i] for n, key in enumerate(keys) for i in (0, 1)}
    records = {f"{key}.json": record_of(f"Move {key}.") for key in keys}
    for name, files in (("apart", images | records), ("near", dict(sorted((images | records).items())))):
        tar_of(tmp_path / name / "0.tar", files, form)
        size = (tmp_path / name / "0.tar").stat().st_size
        read = []
        real = LocalFileSystem.cat_file

        def counted(self, path, start=None, end=None, real=real, read=read, **more):
            read.append(end - start)
            return real(self, path, start=start, end=end, **more)

        monkeypatch.setattr(LocalFileSystem, "cat_file", counted)
        assert keys_in(tmp_path / name) == keys
        monkeypatch.undo()
        assert sum(read) < 1.1 * size
        assert max(read) < size / 20


def write_tar(path, keys):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = encode_image(np.zeros((16, 16, 3), np.uint8), "jpg")
    record = json.dumps({"metadata": {"instruction": "Move it."}}).encode()
    with tarfile.open(path, "w") as tar:
        for key in keys:
            for name, data in ((f"{key}.0.jpg", image), (f"{key}.1.jpg", image), (f"{key}.json", record)):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


def damaged_header(data):
    at = data.index(b"b.0.jpg")
    return data[:at] + b"\xff" * 100 + data[at + 100 :]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda data: data + data, "several tars in one file"),
        (lambda data: bytes(len(data) + 512), "after its end"),
        (damaged_header, "after its end"),
        (gzip.compress, "compressed"),
    ],
    ids=["joined", "zeroed", "a damaged header", "compressed"],
)
def test_a_tar_that_tarfile_reads_only_partly_is_an_error(tmp_path, change, word):
    """tarfile stops at the apparent end of the archive, so samples would be missing without an error."""
    write_tar(tmp_path / "move" / "first.tar", ["z"])
    path = write_tar(tmp_path / "move" / "second.TAR", ["a", "b", "c"])
    assert stream_published(str(tmp_path)).samples == 4
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(BadInput, match=word):
        stream_published(str(tmp_path))


def test_the_error_for_a_damaged_sample_says_what_to_do(tmp_path):
    """Our `verify` cannot repair tars written by others."""
    path = write_tar(tmp_path / "move" / "first.tar", ["a"])
    data = path.read_bytes()
    for harm in (b'{"metadata": {"inst', b"\xff\xd8\xff"):
        at = data.index(harm)
        path.write_bytes(data[:at] + b"x" * 8 + data[at + 8 :])
        with pytest.raises(ShardError) as caught:
            list(stream_published(str(tmp_path), side=16).batches(1))
        assert "download this tar again" in str(caught.value) and "verify" not in str(caught.value)
