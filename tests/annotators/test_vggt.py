"""VGGT, tested with a small network that has the module path, class, loading mixin, call and output shapes of the
released package. It has real layers, so that pre- and post-processing are compared by numbers. One test uses the
package itself, if it is installed."""

import importlib.util
import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from spatialdata_builder.annotators.checkpoint import digest_of
from spatialdata_builder.annotators.vggt import INSTALL, VggtMetric, meters_per_unit, network_size
from spatialdata_builder.shards.codecs import (
    CodecError,
    decode_confidence,
    decode_depth,
    decode_image,
    encode_image,
    encode_metric,
)
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.sample import Reject, Row, Sample
from spatialdata_builder.shards.schema import MapInfo
from tests.annotators.factory import random_facts
from tests.annotators.pictures import cut_off

SIDE = 56
PACKAGE = """
import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import nn


class PointHead(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.out = nn.Linear(width, 4)

    def forward(self, tokens):
        raise AssertionError("an unused head was run")


class VGGT(nn.Module, PyTorchModelHubMixin):
    def __init__(self, img_size=518, patch_size=14, embed_dim=1024):
        super().__init__()
        self.aggregator = nn.Conv2d(3, embed_dim, patch_size, stride=patch_size)
        self.depth_head = nn.Conv2d(embed_dim, 2, 3, padding=1)
        self.camera_head, self.point_head, self.track_head = (PointHead(embed_dim) for _ in range(3))

    def forward(self, images, query_points=None):
        if images.ndim == 4:
            images = images[None]
        B, S, C, H, W = images.shape
        assert C == 3 and H % 14 == 0 and W % 14 == 0 and 0 <= images.min() and images.max() <= 1
        tokens = self.aggregator(images.flatten(0, 1)).float()
        predictions = {}
        if self.camera_head is not None:
            predictions["pose_enc"] = self.camera_head(tokens)
        if self.depth_head is not None:
            seen = nn.functional.interpolate(self.depth_head(tokens), (H, W), mode="bilinear").float()
            predictions["depth"] = seen[:, 0].exp().reshape(B, S, H, W, 1)
            predictions["depth_conf"] = (1 + seen[:, 1].exp()).reshape(B, S, H, W)
        if self.point_head is not None:
            predictions["world_points"] = self.point_head(tokens)
        return predictions
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[torch.nn.Module]]:
    """Package `vggt` on the path, for one test."""
    folder = tmp_path / "site" / "vggt" / "models"
    folder.mkdir(parents=True)
    for path in (folder.parent, folder):
        (path / "__init__.py").touch()
    (folder / "vggt.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "vggt"}
    yield importlib.import_module("vggt.models.vggt").VGGT
    for name in [name for name in sys.modules if name.partition(".")[0] == "vggt"]:
        del sys.modules[name]
    sys.modules.update(before)


@pytest.fixture
def folder(package: type[torch.nn.Module], tmp_path: Path) -> Path:
    torch.manual_seed(4)
    network = package(embed_dim=8)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    network.save_pretrained(tmp_path / "tiny-vggt")  # pyright: ignore[reportCallIssue]
    return tmp_path / "tiny-vggt"


def samples(exact: bool = True) -> list[Sample]:
    """Samples of three sizes. Exact depth is a tilted plane with a hole."""
    facts = random_facts(1, "translate")
    found: list[Sample] = []
    for i, shape in enumerate(((40, 40), (30, 64), (64, 30), (40, 40))):
        rng = np.random.default_rng(i)
        members: dict[str, bytes] = {}
        infos: dict[str, MapInfo] = {}
        for view, member in (("source", "source_metric"), ("target", "metric")):
            members[view] = encode_image(rng.integers(0, 256, (*shape, 3), dtype=np.uint8))
            z = np.add.outer(np.linspace(2, 5, shape[0]), rng.uniform(0, 0.1, shape[1])).astype(np.float32)
            z[:5, :5] = 0
            members[member], infos[member] = encode_metric(z, estimator="renderer", revision="1")
            if not exact:
                members[member] = b""
        known = facts.model_copy(update=infos).model_dump_json()
        found.append(Sample(f"a-{i}", "train", {}, {"pair": {**members, "facts": known}}))
    return found


def expected_maps(network: torch.nn.Module, image: bytes) -> tuple[np.ndarray, np.ndarray]:
    rgb = decode_image(image)
    height, width = rgb.shape[:2]
    size = network_size(width, height, SIDE)
    small = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC)).astype(np.float32) / 255
    with torch.inference_mode():
        output = network(torch.from_numpy(small.transpose(2, 0, 1))[None])
    maps = output["depth"][0, 0, :, :, 0].numpy(), output["depth_conf"][0, 0].numpy()
    depth, confidence = (cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR) for values in maps)
    return depth, confidence


def read(row: Row | Reject, member: str) -> tuple[np.ndarray, MapInfo]:
    assert isinstance(row, Row), row
    info = MapInfo.model_validate(json.loads(str(row.columns["maps"]))[member])
    data = row.columns[member]
    assert isinstance(data, bytes)
    return (decode_confidence if "confidence" in member else decode_depth)(data, info), info


def test_depth_and_confidence_equal_the_networks_output(folder: Path, package: type[torch.nn.Module]):
    stage = VggtMetric(model=str(folder), side=SIDE, gpus=0, batch_size=3)
    network = package.from_pretrained(folder).eval()  # pyright: ignore
    network.camera_head = network.point_head = None
    given = samples()
    for sample, row in zip(given, stage(stage.setup(), given), strict=True):
        for view, prefix in (("source", "source_"), ("target", "")):
            image = sample["pair"][view]
            assert isinstance(image, bytes)
            depth, confidence = expected_maps(network, image)
            found, info = read(row, f"{prefix}metric")
            np.testing.assert_allclose(found, depth, atol=info.scale / 2 + 1e-4, rtol=1e-4)
            assert (info.kind, info.unit) == ("metric", ""), "VGGT's depth is up to scale: no meters are claimed"
            assert (info.estimator, info.revision) == ("tiny-vggt", digest_of(folder))
            found, info = read(row, f"{prefix}confidence")
            np.testing.assert_allclose(found, confidence, atol=info.scale / 2 + 1e-4, rtol=1e-4)
            assert found.min() > 1 and (info.kind, info.unit) == ("confidence", "")


@pytest.mark.skipif(importlib.util.find_spec("vggt") is None, reason="package vggt is not installed")
def test_the_released_package_on_a_small_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The package's classes, heads and loader. A convolution embeds the patches, since its DINOv2 is large."""
    module = importlib.import_module("vggt.models.vggt")
    small = partial(module.Aggregator, num_heads=4, patch_embed="conv", init_values=1.0)
    monkeypatch.setattr(module, "Aggregator", small)
    torch.manual_seed(0)
    network = module.VGGT(img_size=SIDE, embed_dim=64, enable_track=False).eval()
    network.save_pretrained(tmp_path / "tiny-vggt")
    stage = VggtMetric(model=str(tmp_path / "tiny-vggt"), side=SIDE, gpus=0, batch_size=3)
    given = samples()[1:3]
    for sample, row in zip(given, stage(stage.setup(), given), strict=True):
        image = sample["pair"]["target"]
        assert isinstance(image, bytes)
        for member, expected in zip(("metric", "confidence"), expected_maps(network, image), strict=True):
            found, info = read(row, member)
            np.testing.assert_allclose(found, expected, atol=2 * info.scale)
            assert expected.min() > (1 if member == "confidence" else 0)


def test_exact_alignment_gives_meters_by_one_factor_per_image(folder: Path):
    plain, aligned = (VggtMetric(model=str(folder), side=SIDE, gpus=0, align=align) for align in ("none", "exact"))
    given = samples()
    for sample, free, meters in zip(given, plain(plain.setup(), given), aligned(aligned.setup(), given), strict=True):
        facts = json.loads(str(sample["pair"]["facts"]))
        for member in ("source_metric", "metric"):
            data = sample["pair"][member]
            assert isinstance(data, bytes)
            exact = decode_depth(data, MapInfo.model_validate(facts[member]))
            relative, info = read(free, member)
            found, info = read(meters, member)
            known = exact > 0
            assert not known.all()
            factor = np.median(exact[known] / relative[known])
            np.testing.assert_allclose(found, relative * factor, rtol=1e-3)
            assert np.median(exact[known] / found[known]) == pytest.approx(1, abs=1e-3)
            assert (info.unit, info.estimator) == ("m", "tiny-vggt+exact_scale")


def test_a_damaged_image_is_a_reject_but_damaged_depth_is_an_error(folder: Path):
    stage = VggtMetric(model=str(folder), side=SIDE, gpus=0, align="exact")
    good, other = samples()[:2]
    for member in ("target", "metric"):
        layers = {"pair": {**other["pair"], member: cut_off(other["pair"][member])}}
        bad = Sample("b-1", "train", {}, layers)
        if member == "metric":
            with pytest.raises(CodecError):
                stage(stage.setup(), [good, bad])
            continue
        row, reject = stage(stage.setup(), [good, bad])
        assert isinstance(row, Row)
        assert isinstance(reject, Reject) and reject.reason == "unreadable_image" and "the target" in reject.detail


def test_alignment_without_exact_depth_is_a_reject(folder: Path):
    stage = VggtMetric(model=str(folder), side=SIDE, gpus=0, align="exact")
    rows = stage(stage.setup(), samples(exact=False))
    assert {row.reason for row in rows if isinstance(row, Reject)} == {"no_exact_map"} and len(rows) == 4


def test_only_the_columns_in_use_are_read():
    assert VggtMetric().columns == {"pair": ("facts", "source", "target")}
    assert VggtMetric(align="exact", views=("target",)).columns == {"pair": ("facts", "target", "metric")}


def test_factor_of_scale():
    depth = np.array([[1.0, 2.0, 4.0, 1.0]], np.float32)
    exact = np.array([[3.0, 6.0, 20.0, 0.0]], np.float32)
    assert meters_per_unit(depth, exact) == pytest.approx(3)
    assert meters_per_unit(depth, np.zeros_like(exact)) == 0 and meters_per_unit(depth, None) == 0


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (512, 512, (518, 518)),
        (640, 480, (518, 392)),
        (480, 640, (392, 518)),
        (4000, 10, (518, 14)),
        (14, 14, (518, 518)),
    ],
)
def test_the_longer_side_sets_the_size_and_nothing_is_cropped(width: int, height: int, expected: tuple[int, int]):
    assert network_size(width, height, 518) == expected


def test_a_missing_package_is_one_line_with_the_command_that_installs_it(tmp_path: Path):
    if importlib.util.find_spec("vggt") is not None:
        pytest.skip("package vggt is installed here")
    with pytest.raises(BadInput) as caught:
        VggtMetric(model=str(tmp_path), gpus=0).setup()
    assert INSTALL in str(caught.value) and "git+https://github.com/facebookresearch/vggt" in INSTALL
    assert "\n" not in str(caught.value)


def test_a_broken_package_or_checkpoint_is_one_line(folder: Path, tmp_path: Path):
    stage = VggtMetric(model=str(folder), side=SIDE, gpus=0)
    weights = load_file(folder / "model.safetensors")
    without_depth = {name: value for name, value in weights.items() if not name.startswith("depth_head")}
    save_file(without_depth, folder / "model.safetensors")
    with pytest.raises(BadInput, match=r"lacks 2 weights, such as depth_head\.bias"):
        stage.setup()
    save_file(
        {name: value for name, value in weights.items() if "track_head" not in name}, folder / "model.safetensors"
    )
    stage.setup()
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(BadInput, match="cannot be loaded by package 'vggt'"):
        stage.setup()
    (tmp_path / "site" / "vggt" / "models" / "vggt.py").write_text("import no_such_module_at_all")
    sys.modules.pop("vggt.models.vggt")
    with pytest.raises(BadInput, match="no_such_module_at_all"):
        stage.setup()


def test_sides_that_are_not_whole_patches_are_rejected():
    with pytest.raises(BadInput, match=r"layers\.metric\.side: 500"):
        VggtMetric(side=500)
