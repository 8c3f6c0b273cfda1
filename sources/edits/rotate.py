"""`rotate`: an object rotates about the vertical, by an angle or until it shows a canonical view."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ...shards.geometry import matrix3, matrix4, project, wrap_degrees
from ..scenes.footprints import prism, remade
from ..scenes.layout import Scene
from ..scenes.needs import SceneNeeds
from ..scenes.rotations import VIEWS, canonical_view, free_turns, shows, turn_to
from ..scenes.spec import EditSpec, SceneSpec, State
from .checks import FloorPlan, Seen
from .draft import Draft, draft_of, resting
from .kind import EditRules
from .limits import Limits

_VIEW_SHARE = 0.6
"""Share of rotations to a canonical view, if an object with a known front can be edited."""


class Rotate(EditRules):
    def drafts(self, rng: np.random.Generator, scene: Scene, turn: int) -> Iterator[Draft]:
        if scene.furnished:
            yield from _among_furniture(rng, scene)
            return
        fit = scene.fit
        fronts = [i for i in fit if scene.asset(i).front_deg is not None]
        while fit:
            if fronts and rng.random() < _VIEW_SHARE:
                identity = fronts[int(rng.integers(len(fronts)))]
                view = tuple(VIEWS)[int(rng.integers(len(VIEWS)))]
                angle = _turn_to(scene, identity, view)
                if not shows(scene.asset(identity), angle):
                    continue
            else:
                identity = fit[int(rng.integers(len(fit)))]
                angles = free_turns(scene.asset(identity))
                view, angle = "", angles[int(rng.integers(len(angles)))]
            yield _turned(scene, identity, angle, view)

    def change_fault(self, spec: SceneSpec, source: Seen, target: Seen, limits: Limits) -> str | None:
        """Limits the largest distance that a corner of the object's prism moves in the image."""
        edited, camera = spec.edit.object, spec.source.camera
        K, pose = matrix3(camera.K), matrix4(camera.world_from_camera)
        before, after = (
            project(prism(spec.asset(edited), state.placements[edited]).reshape(-1, 3), K, pose)[0]
            for state in (spec.source, spec.target)
        )
        shift = float(np.linalg.norm(after - before, axis=1).max())
        return "moved_too_little" if shift < limits.turn_shift * min(spec.width, spec.height) else None

    def inverted(self, spec: SceneSpec) -> EditSpec:
        edit = spec.edit
        turn = wrap_degrees(0.0 - edit.rotation_deg)
        return EditSpec("rotate", edit.object, rotation_deg=turn, view=_canonical_view(spec, spec.source))

    def between(self, spec: SceneSpec, first: EditSpec, second: EditSpec) -> EditSpec:
        turn = round(wrap_degrees(second.rotation_deg - first.rotation_deg), 6)
        return replace(spec.edit, rotation_deg=turn, view=_canonical_view(spec, spec.target))

    def looks_same(self, spec: SceneSpec) -> bool:
        return not shows(spec.asset(spec.edit.object), spec.edit.rotation_deg)


def _among_furniture(rng: np.random.Generator, scene: Scene) -> Iterator[Draft]:
    """Rotations after which no object is in a wall or in another object, each once."""
    plan = FloorPlan(scene)
    views: dict[int, list[tuple[float, str]]] = {}
    angles: dict[int, list[tuple[float, str]]] = {}
    for identity in scene.fit:
        asset = scene.asset(identity)
        angles[identity] = [(angle, "") for angle in free_turns(asset)]
        if asset.front_deg is not None:
            turns = [(_turn_to(scene, identity, view), view) for view in VIEWS]
            views[identity] = [turn for turn in turns if shows(asset, turn[0])]
    while views or angles:
        to_view = not angles or (bool(views) and rng.random() < _VIEW_SHARE)
        left = views if to_view else angles
        identity = list(left)[int(rng.integers(len(left)))]
        turns = left[identity]
        while turns:
            draft = _turned(scene, identity, *turns.pop(int(rng.integers(len(turns)))))
            if plan.fault(draft.target.placements, draft.moved) is None:
                yield draft
                break
        else:
            del left[identity]


def _turn_to(scene: Scene, identity: int, view: str) -> float:
    """The rotation, degrees, after which an object shows a canonical view."""
    return round(turn_to(view, scene.asset(identity), scene.placements[identity], scene.camera), 6)


def _turned(scene: Scene, identity: int, angle: float, view: str) -> Draft:
    turned = remade(scene.asset(identity), scene.placements[identity], turn_deg=angle)
    edit = EditSpec("rotate", identity, rotation_deg=angle, view=view)
    return draft_of(scene, edit, {identity: resting(scene, identity, turned)})


def _canonical_view(spec: SceneSpec, state: State) -> str:
    """The canonical view that the edited object shows in a state; empty if none."""
    return canonical_view(spec.asset(spec.edit.object), state.placements[spec.edit.object], state.camera)


RULES = Rotate(
    kind="rotate",
    inverse="rotate",
    noun="rotation",
    numbers=("rotation_deg", "view"),
    choosy=True,
    needs=SceneNeeds(gap=(0.4, 1.0), turnable=True, upright=True, carriers=True),
    composes={"rotate": "rotate", "remove": "remove"},
)
