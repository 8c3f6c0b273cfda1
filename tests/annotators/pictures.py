"""Pictures of random facts: each box is drawn as the hull of its projected corners, distant boxes first."""

from itertools import product

import cv2
import numpy as np

from spatialdata_builder.shards import codecs
from spatialdata_builder.shards.geometry import box_of_mask, matrix3, matrix4, project, transform
from spatialdata_builder.shards.sample import Columns, Sample, Value
from spatialdata_builder.shards.schema import PairFacts, SceneObject, View
from tests.annotators.factory import SIDE


def draw(facts: PairFacts) -> tuple[PairFacts, dict[str, bytes]]:
    """Facts with the boxes of the drawn masks, and the encoded members of layer `pair`."""
    grain = np.random.default_rng(7).integers(90, 140, (SIDE, SIDE, 3), dtype=np.uint8)
    views = (facts.camera.source, facts.camera.target)
    drawn = [_draw(facts, state, view, grain) for state, view in zip(("source", "target"), views, strict=True)]
    (source, source_labels), (target, target_labels) = drawn
    edited = facts.edit.edited
    changed = (source != target).any(axis=2) | np.isin(source_labels, edited) | np.isin(target_labels, edited)
    if facts.edit.kind == "camera":
        changed[:] = True
    objects = [_fitted(thing, source_labels == thing.id, target_labels == thing.id) for thing in facts.objects]
    box = box_of_mask(target_labels == edited[0]) if edited else [0] * 4
    facts = facts.model_copy(update={"objects": objects, "edit": facts.edit.model_copy(update={"box": box})})
    return facts, {
        "source": codecs.encode_image(source),
        "target": codecs.encode_image(target),
        "source_instances": codecs.encode_labels(source_labels),
        "target_instances": codecs.encode_labels(target_labels),
        "changed": codecs.encode_mask(changed),
        "source_parts": b"",
        "parts": b"",
        "source_metric": b"",
        "metric": b"",
        "source_normal": b"",
        "normal": b"",
    }


def sample(facts: PairFacts, members: Columns, key: str = "a-1") -> Sample:
    return Sample(key, "train", {}, {"pair": {**members, "facts": facts.model_dump_json()}})


def cut_off(image: Value | None) -> bytes:
    """An image as a truncated PNG: its header is valid, but pixels are missing."""
    assert isinstance(image, bytes)
    png = image if image.startswith(b"\x89PNG") else codecs.encode_image(codecs.decode_image(image), "png")
    cut = png[: 2 * len(png) // 3]
    assert codecs.image_size(cut) == codecs.image_size(image)
    return cut


def _draw(facts: PairFacts, state: str, view: View, grain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rgb, labels = grain.copy(), np.zeros((SIDE, SIDE), np.uint8)
    eye = matrix4(view.world_from_camera)[:3, 3]
    seen = [thing for thing in facts.objects if getattr(thing, f"{state}_visible") > 0]
    for thing in sorted(seen, key=lambda t: -float(np.linalg.norm(_pose(t, state)[:3, 3] - eye))):
        w, d, h = thing.size_m
        corners = np.array(list(product((-w / 2, w / 2), (-d / 2, d / 2), (0, h))))
        pixels, _ = project(transform(_pose(thing, state), corners), matrix3(view.K), matrix4(view.world_from_camera))
        mask = np.zeros((SIDE, SIDE), np.uint8)
        cv2.fillConvexPoly(mask, cv2.convexHull(np.floor(pixels).astype(np.int32)), 1)
        labels[mask > 0] = thing.id
        # The color depends on the object's rotation, so that a rotation is visible.
        shade = 60 * int(_pose(thing, state)[0, 0] * 10 % 3)
        rgb[mask > 0] = (40 * thing.id % 200, 30 + shade, 120)
    return rgb, labels


def _pose(thing: SceneObject, state: str) -> np.ndarray:
    return matrix4(getattr(thing, f"{state}_pose"))


def _fitted(thing: SceneObject, before: np.ndarray, after: np.ndarray) -> SceneObject:
    boxes = {"source_box": box_of_mask(before), "target_box": box_of_mask(after)}
    visible = {"source_visible": float(before.any()), "target_visible": float(after.any())}
    return thing.model_copy(update=boxes | visible)
