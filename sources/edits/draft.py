"""A proposed edit of a scene, before anything is checked."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..scenes.layout import Scene
from ..scenes.spec import EditSpec, Placement, SceneSpec, State
from ..scenes.standing import base_of, carried, rested


@dataclass(frozen=True)
class Draft:
    """An edit with its source and target states."""

    edit: EditSpec
    source: State
    target: State

    @property
    def moved(self) -> tuple[int, ...]:
        """Ids of the objects whose placements differ in the two states."""
        return tuple(id for id, place in self.target.placements.items() if place != self.source.placements[id])


def draft_of(scene: Scene, edit: EditSpec, targets: Mapping[int, Placement]) -> Draft:
    """The draft of an edit that only changes the placements of objects; what stands on them moves along.

    Args:
        targets: new placements of the edited objects, by id.
    """
    source = State(dict(scene.placements), scene.camera)
    moved: dict[int, Placement] = {}
    for identity, after in targets.items():
        moved |= carried(identity, after, scene.assets, scene.placements, scene.supports)
    return Draft(edit, source, State({**scene.placements, **moved}, scene.camera))


def resting(scene: Scene, identity: int, place: Placement) -> Placement:
    """The placement of an object at the height at which it rests on what it stands on."""
    on = place.standing
    if on is None:
        return place
    return rested(scene.asset(identity), place, base_of(on, scene.placements), scene.supports[on.object][on.support])


def specify(scene: Scene, draft: Draft) -> SceneSpec:
    """The specification of a scene and its edit for the renderer."""
    return SceneSpec(
        width=scene.resolution[0],
        height=scene.resolution[1],
        objects=scene.objects,
        floor=scene.floor,
        walls=scene.walls,
        light=scene.light,
        source=draft.source,
        target=draft.target,
        edit=draft.edit,
        seed=scene.seed,
        room=scene.room,
        garden=scene.garden,
        kind=scene.kind,
        environment=scene.environment,
        pedestal=scene.pedestal,
    )
