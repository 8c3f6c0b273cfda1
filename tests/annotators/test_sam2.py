"""The SAM 2 stage on tiny random checkpoints of the released architecture, compared with transformers' own model."""

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from spatialdata_builder.annotators.checkpoint import find_checkpoint
from spatialdata_builder.annotators.sam2 import Processor, Sam2Segments, load_sam2
from spatialdata_builder.annotators.sam2_decoder import PointDecoder
from spatialdata_builder.annotators.sam2_masks import grid_points
from spatialdata_builder.shards import codecs
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.sample import Reject, Row
from spatialdata_builder.shards.schema import MapInfo
from tests.annotators.factory import random_facts
from tests.annotators.pictures import cut_off, draw, sample
from tests.annotators.sam2_models import SIDE, save_tiny, tiny_config

torch = pytest.importorskip("torch")
functional = torch.nn.functional

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
# For random weights: many masks, at a threshold where their boxes differ.
CUT = 30.0
GRID = {
    "points_per_side": 5,
    "pred_iou_thresh": 0.2,
    "stability_score_thresh": 0.5,
    "box_nms_thresh": 0.8,
    "mask_threshold": CUT,
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads slow a tiny network down, even more when other tests run in parallel."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sam2")
    return folder, save_tiny(folder, seed=7)


def stage_of(folder, **options):
    return Sam2Segments(model=str(folder), gpus=0, **{"samples_per_call": 4, **options})


def photo(seed, width, height):
    noise = np.random.default_rng(seed).normal(size=(height, width, 3)).astype(np.float32)
    return np.clip(cv2.GaussianBlur(noise, (0, 0), 6) * 900 + 128, 0, 255).astype(np.uint8)


def sample_of(seed, width, height, facts=None):
    images = {view: codecs.encode_image(photo(seed + i, width, height)) for i, view in enumerate(("source", "target"))}
    return sample(facts or random_facts(3), images, f"a-{seed}")


def pixels_of(rgb):
    """The released preprocessing: resized to a square, with ImageNet's normalization."""
    square = np.asarray(Image.fromarray(rgb).resize((SIDE, SIDE), Image.Resampling.BILINEAR)) / 255
    return torch.from_numpy(((square - MEAN) / STD).transpose(2, 0, 1)[None].astype(np.float32))


def reference_segments(model, rgb, options):
    """A plain implementation of `prompts: grid`: one call of the whole model per point, the rest at the image's
    size."""
    height, width = rgb.shape[:2]
    masks = []
    for point in grid_points(options["points_per_side"]):
        with torch.no_grad():
            output = model(pixels_of(rgb), input_points=torch.from_numpy(point * SIDE).view(1, 1, 1, 2))
        for logits, score in zip(output.pred_masks[0, 0], output.iou_scores[0, 0], strict=True):
            stability = np.count_nonzero(logits > CUT + 1) / max(1, np.count_nonzero(logits > CUT - 1))
            if score > options["pred_iou_thresh"] and stability >= options["stability_score_thresh"]:
                masks.append((float(score), logits))
    kept = []
    for _, logits in sorted(masks, key=lambda entry: -entry[0]):
        box = box_of(logits > CUT)
        if all(iou(box, box_of(other > CUT)) <= options["box_nms_thresh"] for other in kept):
            kept.append(logits)
    whole = [functional.interpolate(one[None, None], (height, width), mode="bilinear")[0, 0] > CUT for one in kept]
    labels = np.zeros((height, width), np.int32)
    for index, mask in enumerate(sorted(whole, key=lambda mask: -int(mask.sum()))):
        labels[mask.numpy()] = index + 1
    return codecs.relabel(labels), len(masks), len(kept)


def box_of(mask):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def iou(a, b):
    both = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def agreement(found, expected):
    """Share of pixels whose regions correspond; regions of equal area may be numbered in any order."""
    assert found.max() == expected.max()
    both = np.zeros((int(found.max()) + 1,) * 2, int)
    np.add.at(both, (found, expected), 1)
    return both.max(axis=1).sum() / found.size


def decoded(model, features, grid, at_once, threshold):
    with torch.inference_mode():
        prompts, dense = model.prompt_encoder(
            grid[None, :, None], torch.ones(1, len(grid), 1, dtype=torch.int32), None, None
        )
        decoder = PointDecoder(model)
        image = decoder.share(features, model.get_image_wide_positional_embeddings(), dense)
        parts = [
            decoder(image, prompts[0, first : first + at_once], threshold) for first in range(0, len(grid), at_once)
        ]
    return torch.cat([logits for logits, _ in parts]), torch.cat([ious for _, ious in parts])


@pytest.mark.parametrize("at_once", [1, 4, 9])
def test_the_decoder_agrees_with_the_model_on_each_point(checkpoint, at_once):
    model = checkpoint[1]
    grid = torch.from_numpy(grid_points(3) * SIDE)
    for seed in range(2):
        pixels = pixels_of(photo(seed, SIDE, SIDE))
        with torch.no_grad():
            output = [model(pixels, input_points=point.view(1, 1, 1, 2)) for point in grid]
            features = model.get_image_embeddings(pixels)
        logits = torch.cat([one.pred_masks[0, 0] for one in output])
        ious = torch.cat([one.iou_scores[0, 0] for one in output])
        assert logits.std() > 1
        ordered = ious.sort().values
        middle = 9 + int(ordered[9:19].diff().argmax())
        for threshold in (-1.0, float(ordered[middle] + ordered[middle + 1]) / 2, 2.0):
            found, scores = decoded(model, features, grid, at_once, threshold)
            wanted = ious > threshold
            assert torch.allclose(scores, ious[wanted], atol=1e-5)
            assert torch.allclose(found, logits[wanted], atol=1e-3, rtol=1e-4)


def test_bfloat16_is_as_accurate_in_the_decoder_as_in_the_model(checkpoint):
    model = checkpoint[1]
    grid = torch.from_numpy(grid_points(4) * SIDE)
    with torch.no_grad():
        features = model.get_image_embeddings(pixels_of(photo(5, SIDE, SIDE)))
        exact = model(image_embeddings=features, input_points=grid[None, :, None]).pred_masks[0].flatten(0, 1)
        with torch.autocast("cpu", torch.bfloat16):
            half = [feature.bfloat16() for feature in features]
            theirs = model(image_embeddings=half, input_points=grid[None, :, None]).pred_masks[0].flatten(0, 1)
            ours, _ = decoded(model, half, grid, 5, -1.0)
    assert ours.dtype == torch.bfloat16
    assert (ours.float() - exact).abs().mean() < 1.5 * (theirs.float() - exact).abs().mean()


@pytest.mark.parametrize("size", [(160, 96), (300, 260)])
def test_grid_masks_equal_a_plain_implementation(checkpoint, size):
    folder, model = checkpoint
    stage = stage_of(folder, **GRID)
    given = sample_of(11, *size)
    (row,) = stage(stage.setup(), [given])
    assert isinstance(row, Row)
    infos = json.loads(str(row.columns["maps"]))
    for index, name in enumerate(("source_segment", "segment")):
        expected, good, kept = reference_segments(model, photo(11 + index, *size), GRID)
        assert good >= kept > 3
        labels = codecs.decode_labels(row.columns[name])
        assert labels.shape == (size[1], size[0])
        assert agreement(labels, expected) > 0.999
        info = MapInfo.model_validate(infos[name])
        assert (info.kind, info.max, info.revision[:7]) == ("segments", float(labels.max()), "sha256:")


def test_maps_do_not_depend_on_batches(checkpoint):
    folder, _ = checkpoint
    given = [sample_of(20, 128, 128), sample_of(30, 90, 140), sample_of(40, 128, 128)]
    together = stage_of(folder, **GRID, batch_size=3, points_per_batch=25)
    alone = stage_of(folder, **GRID, batch_size=1, points_per_batch=2)
    rows = together(together.setup(), given)
    model = alone.setup()
    assert [alone(model, [one])[0].columns for one in given] == [row.columns for row in rows]
    assert together(together.setup(), given[::-1])[::-1] == rows


def test_a_damaged_image_is_one_reject(checkpoint):
    stage = stage_of(checkpoint[0], **GRID)
    good = sample_of(20, 128, 128)
    bad = replace(good, key="b-1", layers={"pair": {**good["pair"], "source": cut_off(good["pair"]["source"])}})
    row, reject = stage(stage.setup(), [good, bad])
    assert isinstance(row, Row)
    assert isinstance(reject, Reject) and reject.reason == "unreadable_image" and "the source" in reject.detail


def test_known_objects_are_segmented_by_their_boxes(checkpoint):
    folder, model = checkpoint
    facts, members = draw(random_facts(8, "remove"))
    stage = stage_of(folder, prompts="boxes")
    (row,) = stage(stage.setup(), [sample(facts, members)])
    for view, name in (("source", "source_segment"), ("target", "segment")):
        rgb = codecs.decode_image(members[view])
        height, width = rgb.shape[:2]
        masks = []
        for thing in facts.objects:
            x0, y0, x1, y1 = getattr(thing, f"{view}_box")
            if x1 == 0:
                continue
            box = torch.tensor([x0 / width, y0 / height, (x1 - 1) / width, (y1 - 1) / height]) * SIDE
            with torch.no_grad():
                output = model(pixels_of(rgb), input_boxes=box.view(1, 1, 4), multimask_output=False)
            masks.append(functional.interpolate(output.pred_masks[0], (height, width), mode="bilinear")[0, 0] > 0)
        assert len(masks) == len(facts.objects) - (view == "target")
        labels = np.zeros((height, width), np.int32)
        for index, mask in enumerate(sorted(masks, key=lambda mask: -int(mask.sum()))):
            labels[mask.numpy()] = index + 1
        assert labels.any()
        assert agreement(codecs.decode_labels(row.columns[name]), codecs.relabel(labels)) > 0.999


def test_without_masks_all_is_background(checkpoint):
    folder, _ = checkpoint
    facts = random_facts(3)
    unseen = [thing.model_copy(update={"target_box": [0, 0, 0, 0]}) for thing in facts.objects]
    nothing = facts.model_copy(update={"objects": unseen})
    for options in ({"prompts": "boxes"}, {"points_per_side": 2, "pred_iou_thresh": 1.0}):
        stage = stage_of(folder, **options, views=("target",))
        (row,) = stage(stage.setup(), [sample_of(50, 64, 48, nothing)])
        assert set(row.columns) == {"segment", "maps"}
        labels = codecs.decode_labels(row.columns["segment"])
        assert labels.shape == (48, 64)
        assert not labels.any()


def test_the_checkpoints_processor_settings_are_used(checkpoint, tmp_path):
    folder = tmp_path / "own"
    shutil.copytree(checkpoint[0], folder)
    given = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7], "rescale_factor": 0.01, "resample": 3}
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": given}))
    own = Processor.load(folder)
    assert own.resample == Image.Resampling.BICUBIC
    assert own.scale == pytest.approx((0.02, 0.01 / 0.6, 0.01 / 0.7))
    assert own.shift == pytest.approx((-0.2, -1 / 3, -3 / 7))
    (folder / "processor_config.json").unlink()
    (folder / "preprocessor_config.json").write_text(json.dumps(given))
    assert Processor.load(folder) == own


def test_pixels_equal_those_of_transformers(checkpoint):
    """SAM 2's own image processor needs torchvision; its Pillow base class does the same steps without it."""
    from transformers.image_processing_backends import PilBackend

    library = PilBackend(
        do_resize=True,
        size={"height": SIDE, "width": SIDE},
        resample=Image.Resampling.BILINEAR,
        do_rescale=True,
        do_normalize=True,
        image_mean=list(MEAN),
        image_std=list(STD),
    )
    rgb = photo(9, 200, 90)
    expected = library(Image.fromarray(rgb), return_tensors="np")["pixel_values"][0]
    ours = Processor.load(checkpoint[0])
    square = np.asarray(Image.fromarray(rgb).resize((SIDE, SIDE), ours.resample), np.float32)
    assert np.allclose((square * ours.scale + ours.shift).transpose(2, 0, 1), expected, atol=1e-5)


def test_running_out_of_memory_halves_the_points_per_batch(checkpoint):
    folder, _ = checkpoint
    given = sample_of(60, 128, 128)
    stage = stage_of(folder, **GRID, points_per_batch=16)
    expected = stage(stage.setup(), [given])
    model = stage.setup()
    head = model.network.mask_decoder.iou_prediction_head
    seen = []

    def small(_, arguments):
        seen.append(len(arguments[0]))
        if seen[-1] > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")

    hook = head.register_forward_pre_hook(small)
    assert stage(model, [given]) == expected
    hook.remove()
    assert seen[:3] == [16, 8, 4]
    assert max(seen[3:]) == 4


def test_a_checkpoint_of_the_video_model_loads(checkpoint, tmp_path):
    """The checkpoints released as facebook/sam2.1-hiera-* are of the video model, whose image part has the same
    names."""
    from transformers.models.sam2_video import Sam2VideoConfig, Sam2VideoModel

    config = tiny_config()
    video = Sam2VideoModel(
        Sam2VideoConfig(
            vision_config=config.vision_config,
            prompt_encoder_config=config.prompt_encoder_config.to_dict(),
            mask_decoder_config=config.mask_decoder_config.to_dict(),
        )
    )
    own = video.state_dict()
    own.update({name: value for name, value in checkpoint[1].state_dict().items() if name in own})
    video.load_state_dict(own)
    video.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "sam2_video"
    loaded = load_sam2(find_checkpoint(str(tmp_path)))
    for name, value in checkpoint[1].state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_unusable_checkpoints_are_one_line(checkpoint, tmp_path):
    from safetensors.torch import load_file, save_file

    with pytest.raises(BadInput, match="does not exist"):
        stage_of(tmp_path / "nowhere").setup()
    with pytest.raises(BadInput, match="not a SAM 2"):
        stage_of(tmp_path).setup()
    shutil.copytree(checkpoint[0], tmp_path / "cut")
    weights = load_file(tmp_path / "cut" / "model.safetensors")
    del weights["mask_decoder.iou_token.weight"]
    save_file(weights, tmp_path / "cut" / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadInput, match=r"lacks 1 weights of SAM 2 \(first: mask_decoder.iou_token.weight\)"):
        stage_of(tmp_path / "cut").setup()
    for options in ({"points_per_side": 0}, {"box_nms_thresh": 0.0}, {"points_per_batch": -1}, {"model": ""}):
        with pytest.raises(BadInput, match=r"layers\.segment"):
            Sam2Segments(**options)
