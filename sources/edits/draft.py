"""A proposed edit of a scene, before anything is checked."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..scenes.layout import Scene
from ..scenes.spec import EditSpec, Placement, SceneSpec, State


@dataclass(frozen=True)
class Draft:
    """An edit with its source and target states."""

    edit: EditSpec
    source: State
    target: State


def draft_of(scene: Scene, edit: EditSpec, targets: Mapping[int, Placement]) -> Draft:
    """The draft of an edit that only changes the placements of objects; `targets`: new placements by id."""
    source = State(dict(scene.placements), scene.camera)
    return Draft(edit, source, State({**scene.placements, **targets}, scene.camera))


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
    )
