"""Facts of furnished rooms with edits of all kinds, without rendering: boxes and visibility are forecast.

The rooms are those of the sampler, and so is every third edit. The other edits are made here, so that they use every
kind of support: an object goes to any support of any other object, to the floor, to a wall or into a corner; objects
that carry others move with them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import shapely

from spatialdata_builder.shards.geometry import to_json_list
from spatialdata_builder.shards.schema import (
    EDIT_KINDS,
    FLOOR,
    NO_SUPPORT,
    UNKNOWN_FRONT,
    Camera,
    Edit,
    EditKind,
    PairFacts,
    SceneObject,
    SupportRef,
    View,
)
from spatialdata_builder.sources.assets.supports import Support
from spatialdata_builder.sources.edits.proposals import generator, propose
from spatialdata_builder.sources.scenes.footprints import footprint, pose_of
from spatialdata_builder.sources.scenes.kinds import compose_scene
from spatialdata_builder.sources.scenes.layout import Scene
from spatialdata_builder.sources.scenes.naming import name_objects
from spatialdata_builder.sources.scenes.needs import SceneNeeds
from spatialdata_builder.sources.scenes.silhouettes import forecast
from spatialdata_builder.sources.scenes.spec import EditSpec, Placement, SceneOptions, SceneSpec, State
from spatialdata_builder.sources.scenes.standing import region, rested, riders, standing_fault, standing_on
from tests.sources.furniture import furniture

SIDE = 256
Placements = dict[int, Placement]


def rooms(count: int, kinds: Sequence[EditKind] = EDIT_KINDS, start: int = 0) -> Iterator[PairFacts]:
    """Facts of `count` pairs, cycling through the kinds."""
    seed = start
    while count:
        facts = room(seed, kinds[seed % len(kinds)])
        seed += 1
        if facts is not None:
            count -= 1
            yield facts


def on_shelf(facts: PairFacts, shelf: int, shelves: int) -> PairFacts | None:
    """The pair as if every shelf that is stood on were number `shelf` of `shelves`; None if there is none.

    The procedural furniture has one shelf at most.
    """
    found = False
    objects: list[SceneObject] = []
    for one in facts.objects:
        changed = {
            side: support.model_copy(update={"shelf": shelf, "shelves": shelves})
            for side, support in (("source_support", one.source_support), ("target_support", one.target_support))
            if support.kind == "shelf"
        }
        found = found or bool(changed)
        objects.append(one.model_copy(update=changed))
    return facts.model_copy(update={"objects": objects}) if found else None


@cache
def _scene(number: int) -> Scene | str:
    options = SceneOptions(kinds={("room", "tabletop")[number % 2]: 1})
    return compose_scene(generator(number, 0, 0), [], furniture(), SceneNeeds(), options, (SIDE, SIDE))


@cache
def room(seed: int, kind: EditKind) -> PairFacts | None:
    """One pair; None if this seed gives none. Five seeds share a room."""
    scene = _scene(seed // 5)
    if isinstance(scene, str):
        return None
    if seed % 3 == 0:
        return _proposed(seed, kind)
    rng = np.random.default_rng((seed, EDIT_KINDS.index(kind)))
    supports = {one.id: furniture().supports_of(one.asset.uid).supports for one in scene.objects}
    for _ in range(40):
        drafted = _draft(rng, scene, supports, kind)
        if drafted is None:
            continue
        edit, source, target = drafted
        if not any(place.present for place in target.values()):
            continue
        orbit = scene.orbit.turned(edit.yaw_deg, edit.pitch_deg, edit.zoom)
        states = State(source, scene.camera), State(target, orbit.pose() if kind == "camera" else scene.camera)
        spec = SceneSpec(
            SIDE, SIDE, scene.objects, scene.floor, (), scene.light, *states, edit, scene.seed, room=scene.room
        )
        names = name_objects(spec)
        if isinstance(names, str):
            continue
        facts = facts_of(spec, names)
        shown = [one for one in facts.objects if one.id in edit.edited]
        if all(
            _seen(one, "source") != (kind == "insert") and _seen(one, "target") != (kind == "remove") for one in shown
        ):
            return facts
    return None


def _proposed(seed: int, kind: EditKind) -> PairFacts | None:
    """An edit that the sampler proposes."""
    options = SceneOptions(kinds={("room", "tabletop")[seed % 2]: 1})
    spec = propose([], kind, options, (SIDE, SIDE), seed, 0, furniture())
    if not isinstance(spec, SceneSpec) or isinstance(names := name_objects(spec), str):
        return None
    return facts_of(spec, names)


def _seen(one: SceneObject, state: str) -> bool:
    return getattr(one, f"{state}_visible") >= 0.35


def _draft(
    rng: np.random.Generator, scene: Scene, supports: dict[int, tuple[Support, ...]], kind: EditKind
) -> tuple[EditSpec, Placements, Placements] | None:
    before = dict(scene.placements)
    ids = list(before)
    by_kind: dict[str, list[int]] = {}
    for one in ids:
        standing = before[one].standing
        by_kind.setdefault(standing.kind if standing else "floor", []).append(one)
    # So that things leave containers and shelves as often as tables.
    group = list(by_kind.values())[int(rng.integers(len(by_kind)))] if kind == "translate" else ids
    id = group[int(rng.integers(len(group)))]
    place = before[id]
    along = riders(id, before)
    match kind:
        case "camera":
            return EditSpec("camera", 0, yaw_deg=float(rng.choice([20.0, -20.0]))), before, before
        case "rotate":
            turn = float(rng.choice([45.0, -90.0, 180.0]))
            after = _carried(before, id, replace(place, yaw_deg=place.yaw_deg + turn), turn)
            return EditSpec("rotate", id, rotation_deg=turn), before, after
        case "scale":
            if along:
                return None
            factor = float(rng.choice([0.6, 0.75, 1.3]))
            return EditSpec("scale", id, scale=factor), before, before | {id: replace(place, scale=factor)}
        case "remove":
            gone = {one: replace(before[one], present=False) for one in (id, *along)}
            return EditSpec("remove", id), before, before | gone
        case "insert":
            new = place if rng.random() < 0.3 or along else _elsewhere(rng, scene, supports, before, id)
            if new is None or along:
                return None
            return EditSpec("insert", id), before | {id: replace(new, present=False)}, before | {id: new}
        case "swap":
            pairs = [(a, b) for a in ids for b in ids if a < b and not (riders(a, before) or riders(b, before))]
            if not pairs:
                return None
            a, b = pairs[int(rng.integers(len(pairs)))]
            if scene.asset(a).category == scene.asset(b).category:
                return None
            here, there = before[a], before[b]
            after = before | {
                a: replace(there, yaw_deg=here.yaw_deg),
                b: replace(here, yaw_deg=there.yaw_deg),
            }
            step = to_json_list((there.x - here.x, there.y - here.y, there.z - here.z))
            return EditSpec("swap", a, translation=(step[0], step[1], step[2]), second_object=b), before, after
        case "translate":
            new = _elsewhere(rng, scene, supports, before, id)
            if new is None:
                return None
            if np.hypot(new.x - place.x, new.y - place.y) < 0.15:
                return None
            after = _carried(before, id, new, 0.0)
            step = to_json_list((new.x - place.x, new.y - place.y, new.z - place.z))
            return EditSpec("translate", id, translation=(step[0], step[1], step[2])), before, after


def _carried(before: Placements, id: int, new: Placement, turn: float) -> Placements:
    """The placements after a move of an object, with what stands on it."""
    old = before[id]
    cos, sin = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
    after = before | {id: new}
    for one in riders(id, before):
        place = before[one]
        x, y = place.x - old.x, place.y - old.y
        after[one] = replace(
            place,
            x=new.x + cos * x - sin * y,
            y=new.y + sin * x + cos * y,
            z=place.z + new.z - old.z,
            yaw_deg=place.yaw_deg + turn,
        )
    return after


def _elsewhere(
    rng: np.random.Generator, scene: Scene, supports: dict[int, tuple[Support, ...]], before: Placements, id: int
) -> Placement | None:
    """A valid place for an object on another support, on its own one, or on the floor."""
    asset = scene.asset(id)
    assets = {one.id: one.asset for one in scene.objects}
    carried = riders(id, before)
    spots = [(one, k) for one in before if one != id and one not in carried for k in range(len(supports[one]))]
    # Rare kinds of supports are tried first, or nearly all moves would end on tables.
    kinds = sorted({supports[one][k].kind for one, k in spots})
    wanted = kinds[int(rng.integers(len(kinds)))] if kinds else ""
    chosen = [(one, k) for one, k in spots if supports[one][k].kind == wanted]
    if (rng.random() < 0.3 or carried) or not chosen:
        return _on_floor(rng, scene, before, id)
    for _ in range(12):
        one, k = chosen[int(rng.integers(len(chosen)))]
        support, base = supports[one][k], before[one]
        low, high = np.array(region(support, base).bounds).reshape(2, 2)
        x, y = rng.uniform(low, high).tolist()
        place = replace(before[id], x=x, y=y, standing=standing_on(one, k, supports))
        if not region(support, base).contains(shapely.Polygon(footprint(asset, place))):
            continue
        place = rested(asset, place, base, support)
        if standing_fault(id, assets, before | {id: place}, supports) is None:
            return place
    return None


def _on_floor(rng: np.random.Generator, scene: Scene, before: Placements, id: int) -> Placement | None:
    """Near another object, at a wall, in a corner, between two others, or anywhere on the floor."""
    assert scene.room is not None
    asset, limits = scene.asset(id), np.array(scene.room.size[:2]) / 2
    inside = shapely.box(*-limits, *limits)
    skip = {id, *riders(id, before)}
    others = [one for one, place in before.items() if one not in skip and place.standing is None]
    shapes = [shapely.Polygon(footprint(scene.asset(one), before[one])) for one in others]
    for _ in range(20):
        place = replace(before[id], z=0.0, standing=None)
        outline = footprint(asset, replace(place, x=0.0, y=0.0))
        way = int(rng.integers(4))
        spot = rng.uniform(-limits, limits)
        if way in (0, 1):
            signs = rng.choice([-1.0, 1.0], 2)
            edge = signs * (limits - (outline * signs).max(axis=0) - rng.uniform(0.005, 0.05, 2))
            axis = int(rng.integers(2))
            spot = edge if way == 0 else np.where(np.arange(2) == axis, edge, spot)
            square = 90.0 * round(place.yaw_deg / 90)
            place = replace(place, yaw_deg=square + float(rng.normal(0, 2)))
        elif way == 2 and others:
            other = before[others[int(rng.integers(len(others)))]]
            spot = np.array([other.x, other.y]) + rng.normal(0, 0.6, 2)
        elif way == 3 and len(others) > 1:
            a, b = (before[one] for one in rng.choice(others, 2, replace=False).tolist())
            spot = (np.array([a.x, a.y]) + np.array([b.x, b.y])) / 2 + rng.normal(0, 0.02, 2)
        place = replace(place, x=float(spot[0]), y=float(spot[1]))
        shape = shapely.Polygon(footprint(asset, place))
        if inside.contains(shape) and (not shapes or shapely.distance(shape, shapes).min() > 0.03):
            return place
    return None


def facts_of(spec: SceneSpec, names: dict[int, str]) -> PairFacts:
    """The facts of a sampled pair, with boxes from the forecast."""
    states = (spec.source, spec.target)
    outlooks = [forecast(spec.objects, state.placements, state.camera, (SIDE, SIDE)) for state in states]
    objects: list[SceneObject] = []
    for placed in spec.objects:
        values: dict[str, object] = {}
        for side, state, outlook in zip(("source", "target"), states, outlooks, strict=True):
            place, seen = state.placements[placed.id], outlook[placed.id]
            there = place.present and seen.visible > 0.02 and seen.box[2] > seen.box[0] and seen.box[3] > seen.box[1]
            values[f"{side}_pose"] = to_json_list(pose_of(place))
            values[f"{side}_box"] = list(seen.box) if there else [0, 0, 0, 0]
            values[f"{side}_visible"] = seen.visible if there else 0.0
            values[f"{side}_support"] = _support(place)
        objects.append(
            SceneObject.model_validate(
                {
                    "id": placed.id,
                    "name": names.get(placed.id, placed.asset.category),
                    "category": placed.asset.category,
                    "asset": placed.asset.uid,
                    "licence": "",
                    "creator": "",
                    "known": True,
                    "size_m": to_json_list(placed.asset.size_m),
                    **values,
                }
            )
        )
    edit = spec.edit
    box = next((one.target_box for one in objects if one.id == edit.object), [0, 0, 0, 0])
    fronts = [one.asset.front_deg for one in spec.objects]
    return PairFacts(
        dataset="rooms",
        edit=Edit(
            kind=edit.kind,
            known=True,
            object=edit.object,
            second_object=edit.second_object,
            translation=list(edit.translation),
            rotation_deg=edit.rotation_deg,
            view="",
            scale=edit.scale,
            yaw_deg=edit.yaw_deg,
            pitch_deg=edit.pitch_deg,
            zoom=edit.zoom,
            box=box,
        ),
        camera=Camera(source=_view(spec.source), target=_view(spec.target)),
        objects=objects,
        colours=[placed.asset.colour for placed in spec.objects],
        fronts=[UNKNOWN_FRONT if front is None else front % 360 for front in fronts],
        room=[] if spec.room is None else list(spec.room.size),
        scene=spec.kind,
    )


def _support(place: Placement) -> SupportRef:
    if not place.present:
        return NO_SUPPORT
    on = place.standing
    return FLOOR if on is None else SupportRef(object=on.object, kind=on.kind, shelf=on.shelf, shelves=on.shelves)


def _view(state: State) -> View:
    camera = state.camera
    return View(known=True, focal="exact", K=list(camera.K), world_from_camera=list(camera.world_from_camera))
