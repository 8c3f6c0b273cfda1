"""The base class of a kind of edit: one subclass per kind, in its own module, listed in `registry.RULES`.

A kind states what a scene needs for it, proposes drafts, checks them against the floor plan, and decides whether the
change is visible. It defines the inverse edit, and the edit from its target to the target of another edit of the same
scene. Everything else (number of tries, limits, forecasts, names) is shared by all kinds.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ...shards.schema import EditKind
from ..scenes.layout import Scene
from ..scenes.needs import SceneNeeds
from ..scenes.spec import EditSpec, SceneSpec
from .checks import Seen, objects_fault, stands_fault
from .draft import Draft
from .limits import Limits


@dataclass(frozen=True)
class EditRules(ABC):
    """The rules of one kind of edit. Fields describe the kind; methods act on a scene.

    Invariant: a method depends only on its arguments, and draws from `rng` in an order that never changes. The random
    stream of a seed is part of the format, because a plan identifies samples by their seeds.
    """

    kind: EditKind
    inverse: EditKind
    """The kind of the inverse edit, from target to source."""
    noun: str
    """Noun for messages to the user: `removal`."""
    numbers: tuple[str, ...] = ()
    """Fields of `shards.schema.Edit` that an edit of this kind sets; all others have their neutral value."""
    in_source: bool = True
    """Whether the edited objects are in the source image."""
    in_target: bool = True
    """Whether the edited objects are in the target image."""
    needs: SceneNeeds = field(default_factory=SceneNeeds)
    """Requirements on the scene."""
    choosy: bool = False
    """Whether many furnished scenes allow no edit of this kind. Then scenes are drawn until one allows it."""
    composes: Mapping[EditKind, EditKind] = field(default_factory=dict[EditKind, EditKind])
    """For two edits of the same objects (or of the camera) in one scene, the first of this kind: kind of the second ->
    kind of the edit from the first target to the second. Missing kinds do not compose. A kind that does not compose
    with itself shares a scene only with a kind that it composes with."""

    @abstractmethod
    def drafts(self, rng: np.random.Generator, scene: Scene, turn: int) -> Iterator[Draft]:
        """Edits of a scene, valid or not, possibly endless; the caller takes as many as it needs.

        Args:
            turn: number of the edit among those of this kind in one scene, from 0.
        """

    def floor_fault(self, scene: Scene, draft: Draft) -> str | None:
        """Why the floor plan rules out a draft (collisions, walls); None if it does not."""
        return stands_fault(scene, draft)

    def view_fault(self, spec: SceneSpec, source: Seen, target: Seen, limits: Limits) -> str | None:
        """Why too little is visible of the objects in one of the states; None if enough is.

        Args:
            source, target: visibility of each object by id, rendered or forecast.
        """
        return objects_fault(spec, source, target, limits)

    @abstractmethod
    def change_fault(self, spec: SceneSpec, source: Seen, target: Seen, limits: Limits) -> str | None:
        """`moved_too_little` if the change is too small to be visible, else None. Arguments: see `view_fault`."""

    @abstractmethod
    def inverted(self, spec: SceneSpec) -> EditSpec:
        """The edit from the target of `spec` to its source, of kind `inverse`.

        Differences are negated and ratios inverted, so the inverse of an inverse is the edit itself.
        """

    @abstractmethod
    def between(self, spec: SceneSpec, first: EditSpec, second: EditSpec) -> EditSpec:
        """The edit of this kind from the target of `first` to the target of `second`.

        Args:
            spec: the scene with the two targets as its states; its edit already has kind and objects.
        """

    def looks_same(self, spec: SceneSpec) -> bool:
        """Whether source and target of a composed edit look the same, or no instruction states the difference."""
        return False
