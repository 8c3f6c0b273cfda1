"""The informative-drawings stage on random weights of the real network, with the released names."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from spatialdata_builder.annotators.drawings import InformativeDrawings
from spatialdata_builder.shards import codecs
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.sample import Reject, Row, Sample
from spatialdata_builder.shards.stage import Stage
from tests.annotators.factory import random_facts
from tests.annotators.pictures import cut_off

# As torch.load lists them in the released files, independent of the package.
SHAPES = {
    "model0.1": (64, 3, 7, 7),
    "model1.0": (128, 64, 3, 3),
    "model1.3": (256, 128, 3, 3),
    **{f"model2.{block}.conv_block.{layer}": (256, 256, 3, 3) for block in range(3) for layer in (1, 5)},
    "model3.0": (256, 128, 3, 3),
    "model3.3": (128, 64, 3, 3),
    "model4.1": (1, 64, 7, 7),
}


def random_weights(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, torch.Tensor] = {}
    for name, shape in SHAPES.items():
        transposed = name.startswith("model3")
        fan = shape[0 if transposed else 1] * shape[2] * shape[3]
        weights[f"{name}.weight"] = torch.randn(shape, generator=generator) * (2 / fan) ** 0.5
        weights[f"{name}.bias"] = torch.randn(shape[1 if transposed else 0], generator=generator) * 0.1
    return weights


def reference(weights: dict[str, torch.Tensor], rgb: np.ndarray) -> np.ndarray:
    """The network computed from its weights by name: float (H, W) in 0..1. Both sides are multiples of four."""

    def of(name: str) -> tuple[torch.Tensor, torch.Tensor]:
        return weights[f"{name}.weight"].double(), weights[f"{name}.bias"].double()

    def reflected(x: torch.Tensor, by: int, name: str) -> torch.Tensor:
        return F.conv2d(F.pad(x, (by, by, by, by), mode="reflect"), *of(name))

    x = torch.from_numpy(rgb).permute(2, 0, 1)[None].double() / 255
    x = F.relu(F.instance_norm(reflected(x, 3, "model0.1")))
    for name in ("model1.0", "model1.3"):
        x = F.relu(F.instance_norm(F.conv2d(x, *of(name), stride=2, padding=1)))
    for block in ("model2.0", "model2.1", "model2.2"):
        y = F.relu(F.instance_norm(reflected(x, 1, f"{block}.conv_block.1")))
        x = x + F.instance_norm(reflected(y, 1, f"{block}.conv_block.5"))
    for name in ("model3.0", "model3.3"):
        x = F.relu(F.instance_norm(F.conv_transpose2d(x, *of(name), stride=2, padding=1, output_padding=1)))
    return torch.sigmoid(reflected(x, 3, "model4.1"))[0, 0].numpy()


def image(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def sample(source: np.ndarray, target: np.ndarray, key: str = "a-1") -> Sample:
    facts = random_facts(1).model_dump_json()
    pair = {"source": codecs.encode_image(source), "target": codecs.encode_image(target), "facts": facts}
    return Sample(key, "train", {}, {"pair": pair})


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return random_weights()


@pytest.fixture(scope="module")
def checkpoint(weights: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "sk_model.pth"
    torch.save(weights, path)
    return path


def drawn(stage: InformativeDrawings, samples: list[Sample]) -> list[Row]:
    rows = stage(stage.setup(), samples)
    assert all(isinstance(row, Row) for row in rows)
    return list(rows)


def lines_of(row: Row, member: str = "line") -> np.ndarray:
    return codecs.decode_lines(row.columns[member])


def test_drawings_equal_the_reference_network(weights: dict[str, torch.Tensor], checkpoint: Path):
    stage = InformativeDrawings(model=str(checkpoint), gpus=0)
    assert isinstance(stage, Stage) and stage.needs == ("pair",) and stage.layer == "line"
    source, target = image(64, 48), image(64, 48, 1)
    (row,) = drawn(stage, [sample(source, target)])
    for member, rgb in (("source_line", source), ("line", target)):
        expected = reference(weights, rgb) * 255
        assert np.ptp(expected) > 30, "the reference has too little contrast"
        assert np.abs(lines_of(row, member) - expected).max() < 0.51
    infos = json.loads(str(row.columns["maps"]))
    assert set(infos) == {"line", "source_line"}
    assert infos["line"]["kind"] == "lines"
    assert infos["line"]["estimator"] == "informative-drawings/sk_model.pth"
    assert infos["line"]["revision"].startswith("sha256:")


def test_file_chooses_fine_or_coarse_weights_of_a_folder(checkpoint: Path, tmp_path: Path):
    (tmp_path / "sk_model.pth").write_bytes(checkpoint.read_bytes())
    torch.save(random_weights(9), tmp_path / "sk_model2.pth")
    pair = sample(image(32, 32), image(32, 32, 1))
    fine, coarse = (
        lines_of(drawn(InformativeDrawings(model=str(tmp_path), gpus=0, **options), [pair])[0])
        for options in ({}, {"file": "sk_model2.pth"})
    )
    np.testing.assert_array_equal(fine, lines_of(drawn(InformativeDrawings(model=str(checkpoint), gpus=0), [pair])[0]))
    assert (fine != coarse).mean() > 0.5


def test_half_precision_draws_the_same(weights: dict[str, torch.Tensor], checkpoint: Path):
    rgb = image(32, 32)
    stage = InformativeDrawings(model=str(checkpoint), gpus=0, views=("target",), dtype="bfloat16")
    difference = lines_of(drawn(stage, [sample(rgb, rgb)])[0]) - reference(weights, rgb) * 255
    # Eight bits of mantissa in each of 13 convolutions.
    assert 0.5 < np.abs(difference).max() < 40
    assert np.abs(difference).mean() < 5


@pytest.mark.parametrize("size", [(33, 21), (30, 48), (5, 9), (64, 3)])
def test_sides_of_any_length(weights: dict[str, torch.Tensor], checkpoint: Path, size: tuple[int, int]):
    width, height = size
    rgb = image(width, height)
    (row,) = drawn(InformativeDrawings(model=str(checkpoint), gpus=0, views=("target",)), [sample(rgb, rgb)])
    lines = lines_of(row)
    assert lines.shape == (height, width)
    down, right = (max(8, -(-side // 4) * 4) - side for side in (height, width))
    padded = np.pad(rgb, ((0, down), (0, right), (0, 0)), mode="reflect")
    assert np.abs(lines - reference(weights, padded)[:height, :width] * 255).max() < 0.51


def test_images_of_several_sizes_share_a_call(checkpoint: Path):
    stage = InformativeDrawings(model=str(checkpoint), gpus=0, batch_size=3)
    samples = [sample(image(w, h, n), image(h, w, n), f"a-{n}") for n, (w, h) in enumerate([(32, 24), (40, 40)] * 3)]
    together = drawn(stage, samples)
    for given, row in zip(samples, together, strict=True):
        (alone,) = drawn(stage, [given])
        for member in ("line", "source_line"):
            difference = lines_of(row, member).astype(int) - lines_of(alone, member)
            assert np.abs(difference).max() <= 1


def test_resolution_is_the_shorter_side_of_the_input(weights: dict[str, torch.Tensor], checkpoint: Path):
    flat = np.repeat(np.repeat(image(12, 8), 8, axis=0), 8, axis=1)  # 96 x 64; reduced by area it is exactly 12 x 8
    stage = InformativeDrawings(model=str(checkpoint), gpus=0, views=("target",), resolution=8)
    lines = lines_of(drawn(stage, [sample(flat, flat)])[0])
    assert lines.shape == (64, 96)
    expected = reference(weights, image(12, 8)) * 255
    # After bilinear enlargement, the center of each network pixel nearly keeps its value.
    centers = (lines[3::8, 3::8].astype(float) + lines[4::8, 4::8]) / 2
    assert np.corrcoef(centers.ravel(), expected.ravel())[0, 1] > 0.98


def test_a_damaged_image_is_one_reject(checkpoint: Path):
    stage = InformativeDrawings(model=str(checkpoint), gpus=0)
    good = sample(image(16, 16), image(16, 16))
    for damaged in (b"no image", cut_off(good["pair"]["target"])):
        bad = Sample("a-2", "train", {}, {"pair": {**good["pair"], "target": damaged}})
        row, reject = stage(stage.setup(), [good, bad])
        assert isinstance(row, Row)
        assert isinstance(reject, Reject) and reject.reason == "unreadable_image"


class TestWeightsThatDoNotFit:
    def error_for(self, content: object, path: Path) -> str:
        torch.save(content, path)
        with pytest.raises(BadInput) as caught:
            InformativeDrawings(model=str(path), gpus=0).setup()
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)
        return str(caught.value)

    def test_a_missing_key_is_named(self, weights: dict[str, torch.Tensor], tmp_path: Path):
        rest = {name: value for name, value in weights.items() if not name.startswith("model1.3")}
        assert "'model1.3.weight' is missing" in self.error_for(rest, tmp_path / "a.pth")

    def test_an_unexpected_key_is_named(self, weights: dict[str, torch.Tensor], tmp_path: Path):
        more = weights | {"model2.3.conv_block.1.weight": torch.zeros(1)}
        assert "'model2.3.conv_block.1.weight' is unexpected" in self.error_for(more, tmp_path / "a.pth")

    def test_another_shape(self, weights: dict[str, torch.Tensor], tmp_path: Path):
        text = self.error_for(weights | {"model4.1.weight": torch.zeros(3, 64, 7, 7)}, tmp_path / "a.pth")
        assert "'model4.1.weight' is of shape (3, 64, 7, 7), not of shape (1, 64, 7, 7)" in text

    def test_another_object(self, tmp_path: Path):
        assert "contains a list" in self.error_for([1, 2], tmp_path / "a.pth")

    def test_code_is_not_run(self, tmp_path: Path):
        assert "safely" in self.error_for(Path("x"), tmp_path / "a.pth")

    def test_a_truncated_file(self, checkpoint: Path, tmp_path: Path):
        path = tmp_path / "sk_model.pth"
        path.write_bytes(checkpoint.read_bytes()[:5000])
        with pytest.raises(BadInput, match="fetch it again"):
            InformativeDrawings(model=str(path), gpus=0).setup()

    def test_a_missing_file(self, tmp_path: Path):
        with pytest.raises(BadInput, match=r"has no file sk_model\.pth"):
            InformativeDrawings(model=str(tmp_path), gpus=0).setup()


@pytest.mark.parametrize("resolution", [-1, 7])
def test_a_resolution_too_small_for_the_network(resolution: int):
    with pytest.raises(BadInput, match="resolution"):
        InformativeDrawings(resolution=resolution)
