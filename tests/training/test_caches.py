"""The tensor cache: keys of entries, damaged entries, the size limit, concurrent processes."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.training.caches import CacheSpec, TensorCache, folder_revision, module_revision

ROOT = Path(__file__).resolve().parents[2]
VAE = CacheSpec("some/vae", "1" * 40, "bfloat16", "512x512, mode")


def one(cache: TensorCache, content, spec: CacheSpec, make):
    return cache.each([content], spec, make)[0]


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("??/??/*.safetensors"))


def encode(pictures: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
    stack = torch.from_numpy(np.stack(pictures).astype(np.float32))
    return {"latent": stack.mean(-1).bfloat16(), "scale": torch.full((len(pictures),), 2.0)}


def encoded(pixels: np.ndarray) -> dict[str, torch.Tensor]:
    return {name: value[0] for name, value in encode([pixels]).items()}


def picture(seed: int, side: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def test_an_entry_is_computed_once_and_read_back_unchanged(tmp_path: Path):
    made: list[int] = []

    def make(pictures: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        made.append(len(pictures))
        return encode(pictures)

    first = TensorCache(tmp_path).each([picture(0), picture(1)], VAE, make)
    again = TensorCache(tmp_path).each([picture(1), picture(0)], VAE, make)
    assert made == [4]
    for one, other in zip(first, reversed(again), strict=True):
        assert one.keys() == other.keys() == {"latent", "scale"}
        for name in one:
            assert one[name].dtype == other[name].dtype
            assert torch.equal(one[name], other[name])
    assert all(
        path.parent.name == path.name[2:4] and path.parent.parent.name == path.name[:2] for path in entries(tmp_path)
    )


def test_every_input_of_an_entry_changes_its_key():
    pixels = picture(0)
    other = pixels.copy()
    other[3, 3, 0] ^= 1
    keys = [
        VAE.key(pixels),
        VAE.key(other),
        VAE.key(pixels.astype(np.int16)),
        VAE.key(pixels.reshape(4, 16, 3)),
        VAE.key(pixels.tobytes()),
        VAE.key((pixels,)),
        VAE.key((pixels, "a")),
        *(
            VAE.key(each)
            for each in ("a", b"a", "", ("a",), ("a", ""), ("", "a"), ("ab", "c"), ("a", "bc"), (("a", "b"), "c"))
        ),
        *(replace(VAE, **{name: "x"}).key(pixels) for name in ("model", "revision", "dtype", "transform")),
        replace(VAE, rows=8).key(pixels),
        CacheSpec("a", "bc", "", "").key("x"),
        CacheSpec("ab", "c", "", "").key("x"),
    ]
    assert len(set(keys)) == len(keys)
    assert VAE.key(pixels) == VAE.key(np.asfortranarray(pixels))


@pytest.mark.parametrize("cached", [True, False])
def test_every_call_of_the_model_has_the_same_number_of_rows(cached: bool, tmp_path: Path):
    """So an entry does not depend on which others are missing. The model here tells its rows apart."""
    calls: list[list[int]] = []

    def make(pictures: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        calls.append([int(each[0, 0, 0]) for each in pictures])
        return {"sum": torch.tensor([float(each.sum()) + len(pictures) for each in pictures])}

    pictures = [np.full((2, 2, 3), value, np.uint8) for value in range(6)]
    cache = TensorCache(tmp_path if cached else "")
    one(cache, pictures[2], VAE, make)
    found = cache.each([*pictures, pictures[0]], VAE, make)
    assert [int(each["sum"]) for each in found] == [12 * value + 4 for value in (*range(6), 0)]
    assert calls[0] == [2, 2, 2, 2]
    if cached:
        assert calls[1:] == [[0, 1, 3, 4], [5, 5, 5, 5]], "only what is missing, once"
    else:
        assert calls[1:] == [[0, 1, 2, 3], [4, 5, 0, 0]]


def test_autocast_does_not_reach_the_models():
    """Validation runs inside autocast, and its entries must be those of a step."""

    def make(pictures: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        stack = torch.from_numpy(np.stack(pictures)).float().flatten(1)
        return {"product": stack @ stack.T}

    plain = one(TensorCache(""), picture(0), VAE, make)["product"]
    with torch.autocast("cpu", torch.bfloat16):
        found = one(TensorCache(""), picture(0), VAE, make)["product"]
    assert found.dtype == torch.float32
    assert torch.equal(found, plain)


def test_filling_computes_only_missing_entries_and_reads_none(tmp_path: Path):
    cache = TensorCache(tmp_path)
    one(cache, picture(0), VAE, encode)
    (path,) = entries(tmp_path)
    path.write_bytes(b"not read")
    cache.fill([picture(0), picture(1), picture(1)], VAE, encode)
    assert (cache.stats.hits, cache.stats.misses) == (1, 2)
    assert path.read_bytes() == b"not read"
    assert torch.equal(cache.get(VAE.key(picture(1)))["latent"], encoded(picture(1))["latent"])


def test_a_prefetched_entry_is_used_without_reading_it_again(tmp_path: Path):
    cache = TensorCache(tmp_path)
    cache.each([picture(0), picture(1)], VAE, encode)
    cache.prefetch([picture(0), picture(2)], VAE)
    for path in entries(tmp_path):
        path.unlink()
    assert torch.equal(one(cache, picture(0), VAE, encode)["latent"], encoded(picture(0))["latent"])
    assert not entries(tmp_path), "it was neither read nor computed"
    one(cache, picture(1), VAE, encode)
    assert len(entries(tmp_path)) == 1
    cache.prefetch([picture(1)], VAE)
    for _ in range(64):
        cache.prefetch([], VAE)
    entries(tmp_path)[0].unlink()
    assert cache.get(VAE.key(picture(1))) is None, "what is not used is forgotten"


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "no checksum"])
def test_a_damaged_entry_counts_as_missing(damage: str, tmp_path: Path):
    from safetensors.torch import save_file

    cache = TensorCache(tmp_path)
    one(cache, picture(0), VAE, encode)
    (path,) = entries(tmp_path)
    data = bytearray(path.read_bytes())
    if damage == "no checksum":
        save_file(encoded(picture(3)), path)
    else:
        data[-1] ^= 1
        path.write_bytes({"cut": data[:-3], "empty": b"", "flipped": data}[damage])
    assert cache.get(VAE.key(picture(0))) is None
    assert torch.equal(one(cache, picture(0), VAE, encode)["latent"], encoded(picture(0))["latent"])
    assert cache.get(VAE.key(picture(0))) is not None


def test_the_limit_holds_and_least_recently_used_entries_are_evicted(tmp_path: Path):
    one(TensorCache(tmp_path), picture(0), VAE, encode)
    size = entries(tmp_path)[0].stat().st_size
    cache = TensorCache(tmp_path, limit_bytes=size * 8)
    for seed in range(1, 30):
        one(cache, picture(seed), VAE, encode)
        for age, path in enumerate(sorted(entries(tmp_path), key=lambda path: path.stat().st_mtime_ns)):
            os.utime(path, (1000 + age, 1000 + age))
        assert cache.get(VAE.key(picture(0))) is not None  # makes it the most recently used
        assert sum(path.stat().st_size for path in entries(tmp_path)) <= size * 8
    assert cache.get(VAE.key(picture(29))) is not None
    assert cache.get(VAE.key(picture(2))) is None


def test_abandoned_temporary_files_are_removed(tmp_path: Path):
    cache = TensorCache(tmp_path)
    one(cache, picture(0), VAE, encode)
    old, new = (entries(tmp_path)[0].with_name(f"{name}.tmp") for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    one(TensorCache(tmp_path), picture(1), VAE, encode)
    assert not old.exists()
    assert new.exists()


def test_processes_share_a_folder(tmp_path: Path):
    code = f"""
import numpy as np, torch
from spatialdata_builder.training.caches import CacheSpec, TensorCache
cache = TensorCache({str(tmp_path)!r}, limit_bytes=20_000)
made = CacheSpec("m", "r", "d", "t")
for turn in range(3):
    for seed in range(60):
        found = cache.each([np.full(64, seed)], made, lambda x: {{"x": torch.from_numpy(np.stack(x)).float()}})[0]
        assert found["x"].tolist() == [seed] * 64, seed
"""
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    running = [subprocess.Popen([sys.executable, "-c", code], env=env) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert 0 < sum(path.stat().st_size for path in entries(tmp_path)) <= 20_000


def test_without_a_folder_nothing_is_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert torch.equal(one(TensorCache(""), picture(0), VAE, encode)["latent"], encoded(picture(0))["latent"])
    assert not list(tmp_path.iterdir())


def test_a_limit_of_0_is_an_error(tmp_path: Path):
    with pytest.raises(BadInput, match="0 bytes"):
        TensorCache(tmp_path, limit_bytes=0)


def test_revisions_follow_the_weights(tmp_path: Path):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)).bfloat16()
    before = module_revision(module)
    assert before == module_revision(module)
    with torch.no_grad():
        module[0].weight[0, 0] += 1
    assert module_revision(module) != before
    assert module_revision(module.float()) != module_revision(module.bfloat16())

    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "model.safetensors").write_bytes(b"one")
    plain = folder_revision(tmp_path)
    os.utime(tmp_path / "vae" / "model.safetensors", (0, 0))
    assert folder_revision(tmp_path) == plain
    stat = (tmp_path / "vae" / "model.safetensors").stat()
    (tmp_path / "vae" / "model.safetensors").write_bytes(b"two")
    os.utime(tmp_path / "vae" / "model.safetensors", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert folder_revision(tmp_path) != plain
    commit = "0123456789" * 4
    (tmp_path / "snapshots" / commit).mkdir(parents=True)
    assert folder_revision(tmp_path / "snapshots" / commit) == commit
    with pytest.raises(BadInput, match=r"weights folder .* does not exist"):
        folder_revision(tmp_path / "nowhere")
