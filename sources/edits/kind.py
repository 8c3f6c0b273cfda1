"""What a kind of edit must say to be sampled: one class a kind, one module each, all of them in `registry.RULES`.

A kind says what a scene needs for it, proposes drafts, checks them against the floor plan, and tells whether the change
can be seen. It says which edit leads back, and which one leads from its target to the target of another edit of the
same scene. All else (how often drafts are tried, limits, forecasts, names) is shared and knows no kind.
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
    """The rules of one kind of edit. Fields are facts about the kind, methods what it does with a scene.

    Invariant: a method depends on its arguments only, and draws from `rng` in an order that never changes: the stream
    of a seed is part of the format, since a plan names samples by their seeds.
    """

    kind: EditKind
    inverse: EditKind
    """The kind of the edit that leads back, from target to source."""
    noun: str
    """One edit of this kind in a message to the user: `removal`."""
    numbers: tuple[str, ...] = ()
    """Fields of `shards.schema.Edit` that say something of an edit of this kind; all others are at rest."""
    in_source: bool = True
    """Whether the edited objects are in the source image."""
    in_target: bool = True
    """Whether the edited objects are in the target image."""
    needs: SceneNeeds = field(default_factory=SceneNeeds)
    """What a scene must have for it."""
    composes: Mapping[EditKind, EditKind] = field(default_factory=dict[EditKind, EditKind])
    """Of two edits of the same objects (or of the camera) in one scene, this kind's being the first: the kind of the
    second, and the kind of the one edit that leads from the first target to the second. Kinds that are missing do not
    compose. A kind that does not compose with itself shares a scene only with one that it composes with."""

    @abstractmethod
    def drafts(self, rng: np.random.Generator, scene: Scene, turn: int) -> Iterator[Draft]:
        """Edits of a scene, valid or not, possibly without end; the caller takes as many as it needs.

        Args:
            turn: 0, 1, ... for the edits of this kind of one scene.
        """

    def floor_fault(self, scene: Scene, draft: Draft) -> str | None:
        """Why the floor plan alone forbids a draft (collisions, walls), None where it does not."""
        return stands_fault(scene, draft)

    def view_fault(self, spec: SceneSpec, source: Seen, target: Seen, limits: Limits) -> str | None:
        """Why too little is seen in one of the states of what the edit is about, None where enough is.

        Args:
            source, target: what is seen of each object, by id: rendered or forecast.
        """
        return objects_fault(spec, source, target, limits)

    @abstractmethod
    def change_fault(self, spec: SceneSpec, source: Seen, target: Seen, limits: Limits) -> str | None:
        """`moved_too_little` where the change itself is too small to be seen, else None; arguments as above."""

    @abstractmethod
    def inverted(self, spec: SceneSpec) -> EditSpec:
        """The edit that leads from the target of `spec` to its source, of kind `inverse`.

        Its numbers are those of the two poses with their signs and ratios turned round, so the inverse of an inverse is
        the edit itself.
        """

    @abstractmethod
    def between(self, spec: SceneSpec, first: EditSpec, second: EditSpec) -> EditSpec:
        """The numbers of an edit of this kind that leads from the target of `first` to the target of `second`.

        Args:
            spec: the scene with the two targets as its states; its edit has kind and objects already.
        """

    def looks_same(self, spec: SceneSpec) -> bool:
        """Whether a composed edit of this kind leads to what looks or is said the same."""
        return False
