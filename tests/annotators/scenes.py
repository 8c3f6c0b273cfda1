"""Facts of scenes that the sampler proposes from procedural assets. Nothing is rendered: boxes are projected."""

import functools
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from spatialdata_builder.shards.geometry import F64, matrix3, matrix4, project, to_json_list, transform
from spatialdata_builder.shards.schema import EDIT_KINDS, Camera, Edit, EditKind, PairFacts, SceneObject, View
from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.edits.proposals import propose
from spatialdata_builder.sources.procedural import catalog
from spatialdata_builder.sources.scenes.footprints import pose_of
from spatialdata_builder.sources.scenes.naming import name_objects
from spatialdata_builder.sources.scenes.spec import CameraPose, SceneOptions, SceneSpec, State

SIDE = 512


@functools.cache
def assets() -> tuple[Asset, ...]:
    return tuple(catalog(4, 0))


def scenes(count: int, kinds: Sequence[EditKind] = EDIT_KINDS) -> Iterator[tuple[PairFacts, dict[int, float]]]:
    """Facts of `count` pairs, cycling through the kinds, with the fronts of their assets (degrees, by id).

    Tests share them: change a copy.
    """
    pairs = (_pair(kinds[seed % len(kinds)], seed) for seed in itertools.count())
    yield from itertools.islice(filter(None, pairs), count)


@functools.cache
def _pair(kind: EditKind, seed: int) -> tuple[PairFacts, dict[int, float]] | None:
    spec = propose(assets(), kind, SceneOptions(), (SIDE, SIDE), seed, 0)
    if not isinstance(spec, SceneSpec) or isinstance(names := name_objects(spec), str):
        return None
    fronts = {o.id: o.asset.front_deg for o in spec.objects if o.asset.front_deg is not None}
    return _facts(spec, names), fronts


def _facts(spec: SceneSpec, names: dict[int, str]) -> PairFacts:
    objects = [
        SceneObject(
            id=placed.id,
            name=names[placed.id],
            category=placed.asset.category,
            asset=placed.asset.uid,
            licence="",
            creator="",
            known=True,
            size_m=to_json_list(placed.asset.size_m),
            source_pose=to_json_list(pose_of(spec.source.placements[placed.id])),
            target_pose=to_json_list(pose_of(spec.target.placements[placed.id])),
            source_box=(before := _box(placed.id, placed.asset, spec.source)),
            target_box=(after := _box(placed.id, placed.asset, spec.target)),
            source_visible=float(any(before)),
            target_visible=float(any(after)),
        )
        for placed in spec.objects
    ]
    edit = spec.edit
    box = next((thing.target_box for thing in objects if thing.id == edit.object), [0, 0, 0, 0])
    return PairFacts(
        dataset="procedural",
        edit=Edit(
            kind=edit.kind,
            known=True,
            object=edit.object,
            second_object=edit.second_object,
            translation=list(edit.translation),
            rotation_deg=edit.rotation_deg,
            view=edit.view,
            scale=edit.scale,
            yaw_deg=edit.yaw_deg,
            pitch_deg=edit.pitch_deg,
            zoom=edit.zoom,
            box=box,
        ),
        camera=Camera(source=_view(spec.source.camera), target=_view(spec.target.camera)),
        objects=objects,
        colours=[placed.asset.colour for placed in spec.objects],
    )


def _view(camera: CameraPose) -> View:
    return View(known=True, focal="exact", K=list(camera.K), world_from_camera=list(camera.world_from_camera))


def _box(id: int, asset: Asset, state: State) -> list[int]:
    """Box around the projected footprint at base and top, clipped to the frame; zeros if absent."""
    place = state.placements[id]
    corners: F64 = np.array([(x, y, z) for (x, y), z in itertools.product(asset.footprint, (0.0, asset.size_m[2]))])
    pixels, depth = project(
        transform(pose_of(place), corners), matrix3(state.camera.K), matrix4(state.camera.world_from_camera)
    )
    low = np.clip(np.floor(pixels[depth > 0].min(axis=0, initial=SIDE)), 0, SIDE)
    high = np.clip(np.ceil(pixels[depth > 0].max(axis=0, initial=0)), 0, SIDE)
    if not place.present or (high <= low).any():
        return [0, 0, 0, 0]
    return [int(low[0]), int(low[1]), int(high[0]), int(high[1])]
