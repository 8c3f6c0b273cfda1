import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from pydantic import TypeAdapter

from spatialdata_builder.annotators.metric3d import Frame, Metric3D, Metric3DNormal, NormalFromMetric
from spatialdata_builder.pipeline.store.fingerprints import fingerprint
from spatialdata_builder.shards import codecs
from spatialdata_builder.shards.errors import BadInput, SpatialdataError
from spatialdata_builder.shards.sample import Reject, Row, Sample
from spatialdata_builder.shards.schema import Camera, MapInfo, PairFacts
from spatialdata_builder.shards.stage import Stage
from tests.annotators import metric3d_models as models
from tests.annotators.factory import random_facts, without_poses
from tests.annotators.pictures import draw, sample

FACTS, MEMBERS = draw(random_facts(5, "translate"))
FX = FACTS.camera.target.K[0]
CANVAS = (56, 112)

# Image (width, height), canvas (height, width), expected place of the image in it (left, top, width, height).
PLACES = [
    ((101, 37), CANVAS, (0, 7, 112, 41)),
    ((37, 101), CANVAS, (46, 0, 20, 56)),
    ((128, 128), CANVAS, (28, 0, 56, 56)),
    ((301, 211), CANVAS, (16, 0, 79, 56)),
    ((512, 512), (616, 1064), (224, 0, 616, 616)),
    ((639, 481), (544, 1216), (247, 0, 722, 544)),
    ((2000, 3), CANVAS, (0, 27, 112, 1)),
]


def pair(image: np.ndarray, facts: PairFacts = FACTS, key: str = "a-1") -> Sample:
    data = codecs.encode_image(image.astype(np.uint8))
    return sample(facts, {**MEMBERS, "source": data, "target": data}, key)


def plain(value: int | tuple[int, int, int], size: tuple[int, int] = (128, 128)) -> np.ndarray:
    return np.broadcast_to(np.array(value, np.uint8), (size[1], size[0], 3)).copy()


def run(stage, *samples: Sample) -> list:
    return list(stage(stage.setup(), samples))


def depth_of(result, member: str = "metric") -> tuple[np.ndarray, MapInfo]:
    assert isinstance(result, Row), result
    info = MapInfo.model_validate(json.loads(str(result.columns["maps"]))[member])
    return codecs.decode_depth(result.columns[member], info), info


def confidence_of(result) -> tuple[np.ndarray, MapInfo]:
    info = MapInfo.model_validate(json.loads(str(result.columns["maps"]))["confidence"])
    return codecs.decode_confidence(result.columns["confidence"], info), info


def metric(model: str, **options) -> Metric3D:
    return Metric3D(model=model, gpus=0, **options)


def ramp(canvas: tuple[int, int]) -> np.ndarray:
    rows, columns = np.mgrid[: canvas[0], : canvas[1]]
    return 2.0 + 0.03 * columns + 0.07 * rows


def one_line(error: pytest.ExceptionInfo) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(("size", "canvas", "place"), PLACES)
def test_depth_is_cropped_from_the_canvas_and_scaled(size, canvas, place, tmp_path):
    """Compared with the ramp's formula at the canvas coordinates of each pixel's center."""
    (width, height), (left, top, inner_width, inner_height) = size, place
    stage = metric(models.stock(tmp_path / "vit.onnx", canvas, ramp(canvas)), views=("target",))
    depth, info = depth_of(run(stage, pair(plain(90, size)))[0])
    x = np.clip((np.arange(width) + 0.5) * inner_width / width - 0.5, 0, inner_width - 1) + left
    y = np.clip((np.arange(height) + 0.5) * inner_height / height - 0.5, 0, inner_height - 1) + top
    scale = min(canvas[0] / height, canvas[1] / width)
    expected = (2.0 + 0.03 * x[None, :] + 0.07 * y[:, None]) * FX * scale / 1000
    assert depth.shape == (height, width) and info.kind == "metric" and info.unit == "m"
    # OpenCV interpolates with float32 weights; the other term is half a step of the codec.
    assert np.abs(depth - expected).max() <= info.scale / 2 + 2e-5 * expected.max()


@pytest.mark.parametrize(("size", "canvas", "place"), PLACES)
def test_images_are_centered_on_the_mean_color(size, canvas, place):
    left, top, width, height = place
    frame = Frame(canvas, size)
    placed = frame.place(plain((255, 1, 0), size))
    assert placed.shape == (3, *canvas) and placed.dtype == np.float32 and frame.box == place
    inside = np.zeros(canvas, bool)
    inside[top : top + height, left : left + width] = True
    assert (placed[:, inside].T == (255, 1, 0)).all()
    assert (placed[:, ~inside].T == (124, 116, 104)).all()
    assert abs((canvas[1] - width - left) - left) <= 1 and abs((canvas[0] - height - top) - top) <= 1


@pytest.mark.parametrize(("canvas", "margin"), [((128, 200), 0), ((64, 128), 1)])
def test_a_perfect_model_gives_the_depth_of_the_scene(canvas, margin, tmp_path):
    """The image's red is the scene's z in decimeters; the model predicts z * 1000 / (fx * scale)."""
    decimeters = np.broadcast_to(2 * np.arange(128)[None, :], (128, 128))
    scale = canvas[0] / 128
    model = models.community(tmp_path / "exact.onnx", scale=0.1 * 1000 / (FX * scale))
    depth, info = depth_of(run(metric(model, canvas=canvas, views=("target",)), pair(np.dstack([decimeters] * 3)))[0])
    inner = np.s_[:, margin : 128 - margin]
    assert np.abs(depth - decimeters / 10)[inner].max() <= info.scale / 2 + 1e-5
    assert "assumed" not in info.estimator


def test_unknown_cameras_get_an_assumed_field_of_view(tmp_path):
    model = models.community(tmp_path / "m.onnx")
    released = pair(plain(100, (128, 96)), without_poses(FACTS))
    known = pair(plain(100, (128, 96)))
    depth, info = depth_of(run(metric(model, canvas=CANVAS, assumed_fov_deg=90), released)[0])
    assert (
        np.allclose(depth, 100 * 64 * (56 / 96) / 1000, rtol=1e-6)
        and info.estimator == "metric3d:m.onnx (focal: assumed)"
    )
    assumed, info = depth_of(run(metric(model, canvas=CANVAS, focal="assumed", assumed_fov_deg=90), known)[0])
    assert np.array_equal(assumed, depth) and info.estimator.endswith("(focal: assumed)")
    exact, info = depth_of(run(metric(model, canvas=CANVAS, focal="exact"), known)[0])
    assert np.allclose(exact, depth * FX / 64, rtol=1e-6) and info.estimator == "metric3d:m.onnx"
    rejected, kept = run(metric(model, canvas=CANVAS, focal="exact"), released, known)
    assert isinstance(rejected, Reject) and rejected.reason == "no_exact_focal" and isinstance(kept, Row)


def test_the_focal_length_is_the_mean_of_both_axes_even_if_assumed(tmp_path):
    model = models.community(tmp_path / "m.onnx")
    view = FACTS.camera.target.model_copy(update={"K": [100.0, 0, 64, 0, 140.0, 64, 0, 0, 1]})
    for focal, suffix in (("exact", ""), ("assumed", " (focal: assumed)")):
        camera = Camera(source=FACTS.camera.source, target=view.model_copy(update={"focal": focal}))
        result = run(metric(model, canvas=CANVAS), pair(plain(50), FACTS.model_copy(update={"camera": camera})))[0]
        depth, info = depth_of(result)
        assert (
            np.allclose(depth, 50 * 120 * (56 / 128) / 1000, rtol=1e-6) and info.estimator == f"metric3d:m.onnx{suffix}"
        )
        assert depth_of(result, "source_metric")[1].estimator == "metric3d:m.onnx"


def test_depth_is_clamped_and_zero_where_invalid(tmp_path):
    values = np.full(CANVAS, 5.0)
    values[10:30, 40:50], values[10:30, 60:70], values[40:50, 40:50] = 1e6, np.inf, -3
    model = models.stock(tmp_path / "m.onnx", CANVAS, values)
    depth, _ = depth_of(run(metric(model), pair(plain(0, (112, 56))))[0])
    assert depth[20, 45] == 300 and depth[20, 65] == 0 and depth[45, 45] == 0
    assert depth[2, 2] == pytest.approx(5 * FX / 1000, rel=1e-3)
    nowhere = models.stock(tmp_path / "none.onnx", CANVAS, np.full(CANVAS, np.nan))
    result = run(metric(nowhere), pair(plain(0)))[0]
    assert isinstance(result, Reject) and result.reason == "no_depth"


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("half", [False, True])
def test_normals_have_unit_length_in_our_convention(half, channels, tmp_path):
    """The model computes normals from the image's colors; signs are kept, x right, y down."""
    rows, columns = np.mgrid[:128, :128]
    slopes = np.stack([columns / 200 - 0.3, rows / 300 - 0.2, np.full((128, 128), -1.0)], axis=2)
    wanted = slopes / np.linalg.norm(slopes, axis=2, keepdims=True)
    image = np.rint(wanted * 0.6 * 127 + 128)
    image[:, 100:] = 128
    model = models.community(tmp_path / "m.onnx", half=half, channels=channels)
    result = run(Metric3DNormal(model=model, gpus=0, canvas=(56, 112)), pair(image))[0]
    normals = codecs.decode_normals(result.columns["normal"])
    info = MapInfo.model_validate(json.loads(str(result.columns["maps"]))["normal"])
    angle = np.degrees(np.arccos(np.clip((normals * wanted).sum(axis=2), -1, 1)))
    assert angle[:, :96].max() < 1.5 and angle[:, :96].mean() < 0.6
    assert (normals[:, 104:] == 0).all()
    assert (info.kind, info.estimator) == ("normal", "metric3d:m.onnx") and set(result.columns) == {
        "normal",
        "source_normal",
        "maps",
    }


def test_the_metric_stage_keeps_normals_for_the_normal_stage(tmp_path):
    model = models.community(tmp_path / "m.onnx")
    image = pair(plain((200, 90, 20)))
    kept = run(metric(model, canvas=CANVAS, normals=True), image)[0]
    depth = {"metric", "source_metric", "confidence", "source_confidence"}
    assert set(kept.columns) == {*depth, "maps", "normal", "source_normal", "other_maps"}
    assert set(json.loads(kept.columns["maps"])) == depth
    own = run(Metric3DNormal(model=model, gpus=0, canvas=CANVAS), image)[0]
    given = Sample("a-1", "train", {}, {"metric": kept.columns})
    assert run(NormalFromMetric(), given)[0] == own
    target = run(NormalFromMetric(views=("target",)), given)[0]
    assert set(target.columns) == {"normal", "maps"} and target.columns["normal"] == own.columns["normal"]
    for stage, view in ((metric(model, canvas=CANVAS), "source"), (metric(model, views=("target",)), "source")):
        bare = Sample("a-1", "train", {}, {"metric": run(replace(stage, canvas=CANVAS), image)[0].columns})
        with pytest.raises(BadInput) as error:
            run(NormalFromMetric(), bare)
        assert f"no normals of the {view} image" in one_line(error) and "normals: true" in str(error.value)


@pytest.mark.parametrize("batch", [1, 2, 3, "B"])
def test_any_fixed_batch_of_the_graph_gives_the_same_bytes(batch, tmp_path):
    model = models.stock(tmp_path / "m.onnx", CANVAS, batch=batch)
    rng = np.random.default_rng(0)
    pairs = [pair(rng.integers(1, 255, (40 + 9 * i, 70, 3)), key=f"a-{i}") for i in range(3)]
    alone = [run(metric(model, batch_size=1), each)[0] for each in pairs]
    for size in (2, 5, 16):
        assert run(metric(model, batch_size=size), *pairs) == alone
    assert depth_of(alone[0])[0].shape == (40, 70)


def test_running_out_of_memory_halves_the_batch(tmp_path):
    stage = metric(models.hungry(tmp_path / "m.onnx"), canvas=CANVAS, batch_size=8)
    pairs = [pair(plain(20 + i), key=f"a-{i}") for i in range(5)]
    for i, result in enumerate(run(stage, *pairs)):
        assert np.allclose(depth_of(result)[0], (20 + i) * FX * (56 / 128) / 1000, rtol=1e-6)


def test_a_damaged_image_rejects_only_its_sample(tmp_path):
    model = models.community(tmp_path / "m.onnx")
    png = codecs.encode_image(plain(9), "png")
    damaged = sample(FACTS, {**MEMBERS, "target": png[: len(png) // 2]}, "b-1")
    good, bad, none = run(
        metric(model, canvas=CANVAS), pair(plain(9)), damaged, sample(FACTS, {**MEMBERS, "source": b""})
    )
    assert isinstance(good, Row) and depth_of(good)[1].revision.startswith("sha256:")
    assert {bad.reason, none.reason} == {"unreadable_image"} and "target" in bad.detail and "source" in none.detail


def test_each_model_has_its_canvas(tmp_path):
    assert metric(models.community(tmp_path / "vit/onnx/model.onnx")).setup().backend.canvas == (616, 1064)
    convnext = models.community(tmp_path / "convnext/metric3d_convnext_tiny.onnx")
    assert metric(convnext).setup().backend.canvas == (544, 1216)
    fixed = models.stock(tmp_path / "stock/m.onnx", CANVAS)
    assert metric(fixed).setup().backend.canvas == CANVAS
    with pytest.raises(BadInput, match=r"takes only \[56, 112\]"):
        metric(fixed, canvas=(56, 56)).setup()


def test_a_folder_has_one_graph_or_file_names_it(tmp_path):
    models.community(tmp_path / "onnx/model.onnx")
    only = metric(str(tmp_path)).setup().backend
    (tmp_path / "onnx/model.onnx_data").write_bytes(b"weights")
    assert metric(str(tmp_path)).setup().backend.revision.startswith(f"{only.revision}+sha256:")
    models.community(tmp_path / "onnx/model_fp16.onnx", half=True)
    with pytest.raises(BadInput, match=r"onnx/model\.onnx, onnx/model_fp16\.onnx"):
        metric(str(tmp_path)).setup()
    assert metric(str(tmp_path), file="onnx/model_fp16.onnx").setup().backend.dtype == np.float16
    with pytest.raises(BadInput, match=r"has no file q4\.onnx"):
        metric(str(tmp_path), file="q4.onnx").setup()


def _bad(tmp_path: Path) -> dict[str, tuple[str, str]]:
    """Name -> (checkpoint, text that the message must contain)."""
    red, constants = models.red_channel(), models.red_constants()
    image, depth = {"image": (TensorProto.FLOAT, (1, 3, 56, 112))}, {"pred_depth": (TensorProto.FLOAT, (1, 1, 56, 112))}
    (tmp_path / "text.onnx").write_text("not a graph")
    (tmp_path / "empty").mkdir()
    cast = [helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT), *models.red_channel(image="floats")]
    graphs = {
        "input": (
            models.red_channel(image="rgb"),
            {"rgb": image["image"]},
            depth,
            "no input `image` or `pixel_values` (found: rgb)",
        ),
        "output": (models.red_channel("y"), image, {"y": depth["pred_depth"]}, "no output `pred_depth`"),
        "bytes": (cast, {"image": (TensorProto.UINT8, (1, 3, 56, 112))}, depth, "tensor(uint8)"),
        "gray": (red, {"image": (TensorProto.FLOAT, (1, 1, 56, 112))}, depth, "not float [B, 3, H, W]"),
        "camera": (red, image | {"K": (TensorProto.FLOAT, (3, 3))}, depth, "more inputs than an image (image, K)"),
    }
    found = {
        name: (models.save_graph(tmp_path / f"{name}.onnx", nodes, constants, inputs, outputs), expected_text)
        for name, (nodes, inputs, outputs, expected_text) in graphs.items()
    }
    return found | {
        "text": (str(tmp_path / "text.onnx"), "cannot load"),
        "missing": (str(tmp_path / "none.onnx"), "does not exist"),
        "empty": (str(tmp_path / "empty"), "must have one .onnx file"),
    }


@pytest.mark.parametrize("name", ["input", "output", "bytes", "gray", "camera", "text", "missing", "empty"])
def test_bad_checkpoints_are_one_line(name, tmp_path):
    checkpoint, expected_text = _bad(tmp_path)[name]
    with pytest.raises(BadInput) as error:
        metric(checkpoint).setup()
    assert expected_text in one_line(error)


def test_a_graph_without_normals_is_rejected_if_they_are_needed(tmp_path):
    stock = models.stock(tmp_path / "m.onnx", CANVAS)
    metric(stock).setup()
    for stage in (metric(stock, normals=True), Metric3DNormal(model=stock, gpus=0)):
        with pytest.raises(BadInput) as error:
            stage.setup()
        assert "no output `predicted_normal`" in one_line(error) and "onnx-community" in str(error.value)


def test_maps_of_another_size_than_the_canvas_stop_the_run(tmp_path):
    constants = models.red_constants() | {"two": np.array([2], np.int64), "last": np.array([2**31], np.int64)}
    constants |= {"rows": np.array([2], np.int64)}
    nodes = [
        *models.red_channel("red"),
        helper.make_node("Slice", ["red", "zero", "last", "rows", "two"], ["pred_depth"]),
    ]
    inputs = {"image": (TensorProto.FLOAT, ("B", 3, "H", "W"))}
    model = models.save_graph(
        tmp_path / "m.onnx", nodes, constants, inputs, {"pred_depth": (TensorProto.FLOAT, ("B", 1, "h", "W"))}
    )
    with pytest.raises(SpatialdataError, match=r"maps of \[28, 112\] for a canvas of \[56, 112\]"):
        run(metric(model, canvas=CANVAS), pair(plain(3)))


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="needs the CPU build")
def test_onnx_runtime_without_cuda_is_one_line(tmp_path):
    with pytest.raises(BadInput) as error:
        Metric3D(model=models.community(tmp_path / "m.onnx")).setup()
    assert "pip install onnxruntime-gpu" in one_line(error)


def test_the_hub_backend_agrees_with_the_graph(tmp_path):
    repository = models.hub_repository(tmp_path / "clone")
    hub = {"model": repository, "backend": "hub", "canvas": CANVAS, "gpus": 0}
    graph = {"model": models.community(tmp_path / "m.onnx"), "canvas": CANVAS, "gpus": 0}
    rng = np.random.default_rng(1)
    pairs = [pair(rng.integers(1, 255, (45, 80, 3)), key=f"a-{i}") for i in range(4)]
    # One pair first: without the blank image of `load_hub`, the authors' model could not take more afterwards.
    stage = Metric3D(**hub, entry="metric3d_vit_small", normals=True, views=("target",))
    model = stage.setup()
    found = [*stage(model, pairs[:1]), *stage(model, pairs[1:])]
    expected = run(Metric3D(**graph, normals=True, views=("target",)), *pairs)
    for ours, theirs in zip(found, expected, strict=True):
        (depth, info), (reference, _) = depth_of(ours), depth_of(theirs)
        assert np.abs(depth - reference).max() <= info.scale + 1e-4 and info.estimator == "metric3d:metric3d_vit_small"
        angles = [codecs.decode_normals(each.columns["normal"]) for each in (ours, theirs)]
        assert np.abs(angles[0] - angles[1]).max() < 0.03
        # The graph gives no confidence. The hub model does, here at a lower resolution than depth.
        assert (confidence_of(theirs)[0] == (reference > 0)).all() and confidence_of(theirs)[1].estimator == "known"
        assert confidence_of(ours)[1].estimator == info.estimator
    for value in (30, 200):
        certain = confidence_of(run(stage, pair(plain((90, value, 20))))[0])[0]
        assert np.allclose(certain[32:-32, 32:-32], value, atol=0.01)
    other = Metric3D(**hub, entry="metric3d_vit_large").setup().backend.revision
    assert other != info.revision and info.revision.startswith("sha256:")


@pytest.mark.parametrize(
    ("entry", "dependencies", "expected_text"),
    [
        ("metric3d_convnext_large", ("torch",), "pip install package_that_is_not_there"),
        ("metric3d_vit_small", ("torch", "mmengine_x"), "pip install mmengine_x"),
        ("metric3d_of_old", ("torch",), "pip install mmcv-lite mmengine"),
        ("metric3d_vit_huge", ("torch",), "metric3d_vit_huge"),
        ("metric3d_convnext_tiny", ("torch",), "no normals"),
        ("metric3d_vit_giant2", ("torch",), "runs only on a GPU"),
    ],
)
def test_anything_missing_for_the_hub_backend_is_one_line(entry, dependencies, expected_text, tmp_path):
    if entry == "metric3d_vit_giant2" and torch.cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    repository = models.hub_repository(tmp_path / "clone", dependencies)
    with pytest.raises(BadInput) as error:
        Metric3DNormal(model=repository, backend="hub", entry=entry, canvas=CANVAS, gpus=0).setup()
    assert expected_text in one_line(error)


def test_convnext_gives_only_depth_on_its_canvas(tmp_path):
    hub = {"model": models.hub_repository(tmp_path / "clone"), "backend": "hub", "entry": "metric3d_convnext_tiny"}
    depth, _ = depth_of(run(Metric3D(**hub, gpus=0, views=("target",)), pair(plain(40)))[0])
    assert np.allclose(depth, 40 * FX * (544 / 128) / 1000, rtol=1e-4)


def test_stages_and_their_options(tmp_path):
    stages = [TypeAdapter(kind).validate_python({}) for kind in (Metric3D, Metric3DNormal, NormalFromMetric)]
    assert all(isinstance(stage, Stage) for stage in stages)
    assert [(stage.layer, stage.needs) for stage in stages] == [
        ("metric", ("pair",)),
        ("normal", ("pair",)),
        ("normal", ("metric",)),
    ]
    assert (
        stages[0].model == "onnx-community/metric3d-vit-large" and Metric3D(backend="hub").model == "yvanyin/metric3d"
    )
    chosen = TypeAdapter(Metric3D).validate_python({"canvas": [616, 616], "normals": True})
    assert fingerprint(chosen, {"pair": "p"}) != fingerprint(stages[0], {"pair": "p"})
    for options in ({"dtype": "bfloat16"}, {"compile": True}, {"canvas": (0, 5)}, {"assumed_fov_deg": math.inf}):
        with pytest.raises(BadInput):
            Metric3D(**options)
