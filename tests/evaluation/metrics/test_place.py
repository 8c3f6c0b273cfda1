import numpy as np
import pytest

from spatialdata_builder.evaluation import testbed
from spatialdata_builder.evaluation.metrics.place import place_values, sights
from spatialdata_builder.evaluation.metrics.relation import relation_values
from spatialdata_builder.evaluation.truth import Truth
from spatialdata_builder.shards.geometry import matrix3, matrix4, project, similarity
from tests.evaluation.scenes import paint, scene


def values_of(truth: Truth, image: np.ndarray) -> dict[str, float | None]:
    seen = sights(truth, image)
    return place_values(truth, image, seen) | relation_values(truth, seen)


@pytest.fixture(scope="module")
def truth() -> Truth:
    return scene()


def made(truth: Truth, name: str) -> np.ndarray:
    found = testbed.MAKERS[name](truth)
    assert found is not None
    return found.image


def test_exact(truth: Truth):
    values = values_of(truth, truth.target)
    assert values["found"] == values["relation"] == 1
    assert values["box_iou"] > 0.97 and values["mask_iou"] > 0.97
    assert values["center_px"] < 0.5 and values["center_m"] < 0.02 and values["scale_error"] < 0.03
    assert values["left_behind"] == values["duplicated"] == 0


def test_copy_is_found_where_it_was(truth: Truth):
    values = values_of(truth, truth.source)
    boxes = [np.array(box) for box in (truth.record.objects[0].source_box, truth.record.objects[0].target_box)]
    distance = np.linalg.norm((boxes[1] - boxes[0])[:2])
    assert values["center_px"] == pytest.approx(min(distance, truth.diagonal / 2), abs=1)
    assert values["center_m"] == pytest.approx(1.6, abs=0.1)
    assert values["left_behind"] == 1
    assert values["box_iou"] == values["relation"] == 0


@pytest.mark.parametrize("pixels", [5, 20, 80])
def test_shifts_are_measured(truth: Truth, pixels: int):
    found = testbed.shifted(pixels)(truth)
    assert found is not None and found.shift is not None
    values = values_of(truth, found.image)
    assert values["center_px"] == pytest.approx(np.hypot(*found.shift), abs=1)


@pytest.mark.parametrize("factor", [0.7, 0.9, 1.1, 1.3])
def test_sizes_are_measured(truth: Truth, factor: float):
    found = testbed.rescaled(factor)(truth)
    assert found is not None
    values = values_of(truth, found.image)
    assert values["scale_error"] == pytest.approx(abs(np.log2(factor)), abs=0.07)
    assert values["center_m"] < 0.1


def test_removed_is_not_found(truth: Truth):
    values = values_of(truth, made(truth, "object removed"))
    assert values["found"] == 0
    assert values["center_px"] is values["box_iou"] is values["center_m"] is values["relation"] is None


def test_copies_are_seen(truth: Truth):
    values = values_of(truth, made(truth, "left behind and copied"))
    assert values["left_behind"] == values["duplicated"] == 1
    assert values["center_px"] < 1


@pytest.mark.parametrize("name", ["blurred", "color cast", "background repainted", "JPEG 50"])
def test_other_faults_do_not_hide_the_object(truth: Truth, name: str):
    values = values_of(truth, made(truth, name))
    assert values["center_px"] < 3 and values["duplicated"] == 0


def test_wrong_object(truth: Truth):
    values = values_of(truth, made(truth, "wrong object moved"))
    assert values["left_behind"] > 0.9 and values["box_iou"] < 0.1 and values["relation"] == 0


def test_meters_are_those_on_the_floor(truth: Truth):
    """A mug drawn half a meter further away: smaller and higher in the image."""
    image, labels = truth.plate.image.copy(), np.zeros(truth.size[::-1], np.uint8)
    view = truth.record.camera.target
    paint(image, labels, view, similarity(0.8, 0.5, 0, 0), 1)
    values = values_of(truth, image)
    assert values["center_m"] == pytest.approx(0.5, abs=0.08)


def test_removal():
    truth = scene("remove")
    gone, kept = values_of(truth, truth.target), values_of(truth, truth.source)
    assert (gone["found"], gone["left_behind"]) == (1, 0)
    assert (kept["found"], kept["left_behind"]) == (0, 1)
    assert "center_px" not in gone and "relation" not in gone


def test_relation_needs_the_asked_side(truth: Truth):
    """The mug further to the left than before: the instruction says right."""
    image, labels = truth.plate.image.copy(), np.zeros(truth.size[::-1], np.uint8)
    paint(image, labels, truth.record.camera.target, similarity(-1.1, 0, 0, 0), 1)
    assert values_of(truth, image)["relation"] == 0


def test_foot_of_the_exact_object_is_its_origin(truth: Truth):
    from spatialdata_builder.evaluation.metrics.place import foot_pixel

    (sight,) = sights(truth, truth.target)
    view = truth.record.camera.target
    (expected,), _ = project(matrix4(sight.thing.target_pose)[:3, 3], matrix3(view.K), matrix4(view.world_from_camera))
    assert foot_pixel(truth, sight) == pytest.approx(expected, abs=0.6)
