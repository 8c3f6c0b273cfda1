"""The facts and measures of a rendered pair.

Poses, camera and sizes come from the specification; boxes and displacement come from the rendered masks. The two are
compared: an object's surface points, projected with the specified pose and camera, must cover its mask.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...shards import codecs
from ...shards.geometry import (
    box_iou,
    box_of_mask,
    displacement,
    mask_iou,
    matrix3,
    matrix4,
    project,
    to_json_list,
    transform,
)
from ...shards.sample import Columns
from ...shards.schema import (
    FLOOR,
    NO_SUPPORT,
    UNKNOWN_FRONT,
    Camera,
    Edit,
    MapInfo,
    Measures,
    PairFacts,
    SceneObject,
    SupportRef,
    View,
)
from ..blender.render import ObjectVisibility, RenderedView, Renderer
from ..changed_region import Changed, all_changed, find_changed
from ..derived import swapped_facts
from ..scenes.camera import eye
from ..scenes.footprints import pose_of
from ..scenes.spec import CameraPose, Pedestal, SceneObjectSpec, SceneSpec, State
from ..scenes.studio import hidden_by_board

Mask = NDArray[np.bool_]
Seen = tuple[dict[int, ObjectVisibility], dict[int, ObjectVisibility]]
"""Visibility of each object in source and target."""
ESTIMATOR = "renderer"
_TINY = 0.002
"""Share of the frame below which the mask of an object that moves along is too coarse to be compared."""


def pair_columns(
    spec: SceneSpec,
    dataset: str,
    supports: bool,
    views: tuple[RenderedView, RenderedView],
    seen: Seen,
    renderer: Renderer,
) -> tuple[Columns, Changed]:
    """The row of layer `pair` (see `shards.schema.PairFacts`) of two views of one scene, and what the edit changed.

    Args:
        supports: see `pair_facts`.
        views: source and target as rendered; the target's colors outside the changed region are replaced here.
        seen: visibility of each object in source and target.
        renderer: for the objects' surface points and the versions of the rendering software.
    """
    source, target = views
    changed = find_changed(source, target, spec.moved) if spec.edit.edited else all_changed(source, target)
    revision = _revision(renderer)
    source_metric, source_metric_info = codecs.encode_metric(source.depth, estimator=ESTIMATOR, revision=revision)
    metric, metric_info = codecs.encode_metric(target.depth, estimator=ESTIMATOR, revision=revision)
    normal_info = codecs.map_info("normal", estimator=ESTIMATOR, revision=revision)
    maps = MapInfos(metric_info, source_metric_info, normal_info, normal_info)
    facts = pair_facts(spec, dataset, supports, views, seen, changed, maps, renderer.points)
    columns: Columns = {
        "source": codecs.encode_image(source.rgb),
        "target": codecs.encode_image(changed.target_rgb),
        "source_instances": codecs.encode_labels(source.instances),
        "target_instances": codecs.encode_labels(target.instances),
        "source_parts": codecs.encode_labels(source.parts),
        "parts": codecs.encode_labels(target.parts),
        "changed": codecs.encode_mask(changed.mask),
        "source_metric": source_metric,
        "metric": metric,
        "source_normal": codecs.encode_normals(source.normal),
        "normal": codecs.encode_normals(target.normal),
        "facts": facts.model_dump_json(),
    }
    return columns, changed


@dataclass(frozen=True)
class MapInfos:
    """How to decode the maps of a pair; fields as in `shards.schema.PairFacts`."""

    metric: MapInfo
    source_metric: MapInfo
    normal: MapInfo
    source_normal: MapInfo


def pair_facts(
    spec: SceneSpec,
    dataset: str,
    supports: bool,
    views: tuple[RenderedView, RenderedView],
    seen: Seen,
    changed: Changed,
    maps: MapInfos,
    points: dict[int, NDArray[np.float32]],
) -> PairFacts:
    """The facts of a pair.

    Args:
        supports: whether the facts say the kind of scene and what each object stands on.
        points: surface points (n, 3) of each object, by id: object frame, meters.
    """
    source, target = views
    edited = spec.edit.edited
    measures = Measures(
        **_consistency(spec, views, points),
        visible_source=_least_visible(edited, spec.source, seen[0]),
        visible_target=_least_visible(edited, spec.target, seen[1]),
        displacement_px=min(
            (displacement(source.instances == one, target.instances == one) for one in edited), default=-1.0
        ),
        displacement_m=round(float(np.linalg.norm(spec.edit.translation)), 6) if edited else -1.0,
        changed_fraction=round(changed.fraction, 6),
        psnr_unchanged=round(changed.psnr_unchanged, 3) if edited else -1.0,
    )
    return PairFacts(
        dataset=dataset,
        edit=edit_of(spec, box_of_mask(target.instances == edited[0]) if edited else [0, 0, 0, 0]),
        camera=Camera(source=_view(spec.source.camera), target=_view(spec.target.camera)),
        objects=[_object(placed, spec, supports, views, seen) for placed in spec.objects],
        metric=maps.metric,
        source_metric=maps.source_metric,
        normal=maps.normal,
        source_normal=maps.source_normal,
        measures=measures,
        colours=[placed.asset.colour for placed in spec.objects],
        fronts=[UNKNOWN_FRONT if (deg := placed.asset.front_deg) is None else deg % 360 for placed in spec.objects],
        room=[] if spec.room is None else list(spec.room.size),
        scene=spec.kind if supports else "",
    )


def _least_visible(edited: tuple[int, ...], state: State, seen: dict[int, ObjectVisibility]) -> float:
    """The least visibility of the edited objects that are present; -1 if none is."""
    return min((seen[one].visible for one in edited if state.placements[one].present), default=-1.0)


def _revision(renderer: Renderer) -> str:
    return " ".join(f"{name} {version}" for name, version in sorted(renderer.versions.items()))


def edit_of(spec: SceneSpec, box: list[int]) -> Edit:
    """The edit for the facts; `box` is that of the (first) object in the target image, zeros if there is none."""
    edit = spec.edit
    # Left out for edits of one object: see `shards.schema.Edit`.
    second = {"second_object": edit.second_object} if edit.second_object else {}
    return Edit(
        kind=edit.kind,
        known=True,
        object=edit.object,
        translation=list(edit.translation),
        rotation_deg=edit.rotation_deg,
        view=edit.view,
        scale=edit.scale,
        yaw_deg=edit.yaw_deg,
        pitch_deg=edit.pitch_deg,
        zoom=edit.zoom,
        box=box,
        **second,
    )


def _view(camera: CameraPose) -> View:
    return View(known=True, focal="exact", K=list(camera.K), world_from_camera=list(camera.world_from_camera))


def _object(
    placed: SceneObjectSpec,
    spec: SceneSpec,
    supports: bool,
    views: tuple[RenderedView, RenderedView],
    seen: Seen,
) -> SceneObject:
    asset, states = placed.asset, (spec.source, spec.target)
    visible = [
        round(seen[i][placed.id].visible, 4) if states[i].placements[placed.id].present else 0.0 for i in range(2)
    ]
    boxes = [box_of_mask(view.instances == placed.id) for view in views]
    sides = zip(("source_support", "target_support"), states, strict=True)
    standing = {side: support_of(placed.id, state, spec) for side, state in sides} if supports else {}
    return SceneObject(
        id=placed.id,
        name=spec.names[placed.id],
        category=asset.category,
        asset=asset.uid,
        family=asset.family,
        licence=asset.licence,
        creator=asset.creator,
        known=True,
        size_m=to_json_list(asset.size_m),
        source_pose=to_json_list(pose_of(spec.source.placements[placed.id])),
        target_pose=to_json_list(pose_of(spec.target.placements[placed.id])),
        source_box=boxes[0],
        target_box=boxes[1],
        source_visible=visible[0],
        target_visible=visible[1],
        **standing,
    )


def support_of(identity: int, state: State, spec: SceneSpec) -> SupportRef:
    """What an object stands on, in or under in a state."""
    place = state.placements[identity]
    if not place.present or (place.settled and not place.settled.on_support):
        return NO_SUPPORT
    if (on := place.standing) is not None:
        return SupportRef(object=on.object, kind=on.kind, shelf=on.shelf, shelves=on.shelves)
    if place.z == 0 or place.settled:
        return FLOOR
    # In an open scene, an object above the floor is in the container, at the height of its inner floor.
    for other in spec.objects:
        base = state.placements[other.id]
        deep = other.asset.supports > 0 and round(base.z + other.asset.supports * base.scale, 6) == place.z
        apart = np.hypot(base.x - place.x, base.y - place.y)
        if other.id != identity and deep and apart <= max(other.asset.opening) * base.scale / 2:
            return SupportRef(object=other.id, kind="inside", shelf=0, shelves=0)
    raise ValueError(f"object {identity} stands {place.z} m above the floor, on nothing")


def _consistency(
    spec: SceneSpec, views: tuple[RenderedView, RenderedView], points: dict[int, NDArray[np.float32]]
) -> dict[str, float]:
    """The worst agreement of projected surface points with the rendered mask, over both states.

    Compared for all objects in camera edits, else for the edited ones and what moves along and is not tiny.
    """
    compared = spec.moved or [placed.id for placed in spec.objects]
    scores: list[tuple[float, float]] = []
    for state, view in zip((spec.source, spec.target), views, strict=True):
        for identity in compared:
            mask = view.instances == identity
            least = 1 if identity in spec.edit.edited or not spec.moved else _TINY * mask.size
            if state.placements[identity].present and np.count_nonzero(mask) >= least:
                predicted = silhouette(points[identity], identity, state, view.instances, spec.pedestal)
                scores.append((box_iou(box_of_mask(predicted), box_of_mask(mask)), mask_iou(predicted, mask)))
    if not scores:
        return {}
    return {"box_iou": round(min(box for box, _ in scores), 4), "mask_iou": round(min(iou for _, iou in scores), 4)}


def silhouette(
    points: NDArray[np.float32],
    identity: int,
    state: State,
    instances: NDArray[np.integer],
    pedestal: Pedestal | None = None,
) -> Mask:
    """Predicted mask (H, W) of an object: its projected surface points, closed, without pixels of other objects.

    Args:
        points: (N, 3) on the object's surface, object frame, meters.
        instances: (H, W) rendered object ids.
        pedestal: what the object stands on: it hides the object's base from below.
    """
    height, width = instances.shape
    world = transform(pose_of(state.placements[identity]), points)
    if pedestal is not None:
        world = world[~hidden_by_board(pedestal, eye(state.camera), world)]
    pixels, depth = project(world, matrix3(state.camera.K), matrix4(state.camera.world_from_camera))
    pixels = pixels[depth > 0]
    inside = (pixels >= 0).all(axis=1) & (pixels < (width, height)).all(axis=1)
    columns, rows = np.floor(pixels[inside]).astype(int).T
    splat = np.zeros((height, width), np.uint8)
    splat[rows, columns] = 1
    # Close the gaps between points: 1.5 times their mean distance if spread evenly over the silhouette.
    area = int(np.count_nonzero(instances == identity))
    size = 2 * int(np.ceil(1.5 * np.sqrt(area / max(1, len(rows))))) + 1
    closed = cv2.morphologyEx(splat, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    return (closed > 0) & ((instances == identity) | (instances == 0))


def inverted_facts(back: SceneSpec, facts: PairFacts) -> PairFacts:
    """The facts of the inverse of a pair.

    Args:
        back: the result of `inverted`.
        facts: the facts of the rendered pair.
    """
    swapped = swapped_facts(facts)
    objects = [thing.model_copy(update={"name": back.names[thing.id]}) for thing in swapped.objects]
    box = next((thing.target_box for thing in objects if thing.id == back.edit.object), [0, 0, 0, 0])
    return swapped.model_copy(update={"objects": objects, "edit": edit_of(back, box)})
