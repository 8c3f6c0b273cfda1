"""The facts of one pair as the templates need them: image size, names of objects, and relations.

Invariant: a name in `names` fits only one object of the source image, and that object is visible in both images.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property

from ..shards.colors import Floats
from ..shards.schema import PairFacts, SceneObject, SupportRef
from .phrases import bare, definite
from .relations import Layout, Relation, StateName, present
from .supports import at, carried_along, riders, support_of, supports_known


@dataclass(frozen=True)
class Standing:
    """What an object stands on, in or under, and its definite name, or that of the floor."""

    support: SupportRef
    name: str


@dataclass(frozen=True)
class Case:
    """`width` and `height`: size of both images in pixels."""

    facts: PairFacts
    width: int
    height: int
    pixels: Mapping[tuple[int, StateName], Floats] = field(
        default_factory=dict[tuple[int, StateName], Floats], compare=False, repr=False
    )
    """OKLab colors (N, 3) by object id and image, for objects that are large enough; empty if no image was read."""

    @cached_property
    def edited_objects(self) -> tuple[SceneObject, ...]:
        """The edited objects, in the order of `Edit.edited`; empty for camera edits.

        Raises ValueError if the facts have no object with such an id.
        """
        objects = {one.id: one for one in self.facts.objects}
        if missing := [id for id in self.facts.edit.edited if id not in objects]:
            raise ValueError(f"the facts have no object {missing[0]}")
        return tuple(objects[id] for id in self.facts.edit.edited)

    @property
    def edited(self) -> SceneObject:
        """The edited object, or the first of several. Raises ValueError if there is none."""
        if not self.edited_objects:
            raise ValueError(f"a {self.facts.edit.kind} edit edits no object")
        return self.edited_objects[0]

    @cached_property
    def names(self) -> dict[int, str]:
        """Definite names, by id, of the other objects that an instruction may refer to."""
        named: dict[int, str] = {}
        for thing in self.facts.objects:
            if thing.id in self.riders:
                continue  # it moves along
            seen = present(self.facts, thing, "source") and present(self.facts, thing, "target")
            if thing.id not in self.facts.edit.edited and seen and (phrase := self._name_of(thing)):
                named[thing.id] = phrase
        return named

    @cached_property
    def supported(self) -> bool:
        """Whether the facts say what each object stands on."""
        return supports_known(self.facts)

    @cached_property
    def riders(self) -> tuple[int, ...]:
        """Ids of what stands on, in or under the edited objects in the source; empty if this is unknown."""
        return tuple(carried_along(self.facts)) if self.supported else ()

    @cached_property
    def start(self) -> Standing | None:
        """What the edited object stands on in the source; None if it is absent, unknown or has no name."""
        return self._standing("source")

    @cached_property
    def goal(self) -> Standing | None:
        """The same in the target."""
        return self._standing("target")

    @property
    def changes_support(self) -> bool:
        """Whether the edited object stands on something else in the target."""
        return self.supported and self.edited.source_support != self.edited.target_support

    def _standing(self, state: StateName) -> Standing | None:
        support = support_of(self.edited, state)
        if support.kind == "floor":
            return Standing(support, self.floor)
        name = self.names.get(support.object, "")
        return Standing(support, name) if support.kind and name else None

    @property
    def floor(self) -> str:
        """What stands on nothing else stands on: `the floor`, `the ground` of a garden."""
        return "the ground" if self.facts.scene == "garden" else "the floor"

    @cached_property
    def edited_name(self) -> str:
        """The edited object's definite name (`name_of`)."""
        return self.name_of(self.edited)

    @cached_property
    def edited_noun(self) -> str:
        """The edited object's noun phrase (`noun_of`)."""
        return self.noun_of(self.edited)

    @cached_property
    def source_relations(self) -> list[Relation]:
        """Relations of the edited object to the objects of `names` in the source."""
        return self.source_layout.relations(self.edited.id, list(self.names))

    @cached_property
    def target_relations(self) -> list[Relation]:
        """The same in the target."""
        return self.target_layout.relations(self.edited.id, list(self.names))

    @cached_property
    def new_relations(self) -> list[Relation]:
        """The relations in the target that describe where the object ends: near objects, and not true of the source,
        even without a margin."""
        source, target = self.source_layout, self.target_layout
        return [one for one in self.target_relations if target.near(one) and not source.suggests(one)]

    @cached_property
    def source_layout(self) -> Layout:
        return Layout(self.facts, "source")

    @cached_property
    def target_layout(self) -> Layout:
        return Layout(self.facts, "target")

    def noun_of(self, thing: SceneObject) -> str:
        """An object's noun phrase without an article, with its color if known: for the first mention of a new
        object."""
        return noun_phrase(self.facts, thing, bare(thing.name))

    def name_of(self, thing: SceneObject) -> str:
        """An object's definite name, which fits no other object of the source image; empty if there is none.

        If the bare name fits other objects, the object's side of the image is added, or what it stands on.
        """
        name = self._name_of(thing)
        if name or not self.supported or not (rivals := self._rivals(thing)):
            return name
        place = self._place_of(thing, {other.id for other in rivals})
        return f"{definite(bare(thing.name))} {place}" if place else ""

    def _name_of(self, thing: SceneObject) -> str:
        """As `name_of`, but without what it stands on."""
        noun = bare(thing.name)
        rivals = self._rivals(thing)
        if not noun or not rivals:
            return definite(noun) if noun else ""
        x0, _, x1, _ = thing.source_box
        if x1 > x0 and all(x1 < other.source_box[0] for other in rivals):
            return f"{definite(noun)} on the left"
        if x1 > x0 and all(x0 > other.source_box[2] for other in rivals):
            return f"{definite(noun)} on the right"
        return ""

    def _rivals(self, thing: SceneObject) -> list[SceneObject]:
        """The other objects of the source image that the bare name fits."""
        noun = bare(thing.name)
        others = [other for other in self.facts.objects if other.id != thing.id and self._in_source(other)]
        return [other for other in others if noun == "object" or self._fits(noun, other)]

    def _place_of(self, thing: SceneObject, rivals: Set[int]) -> str:
        """Where an object, and none of its rivals, stands in the source: `on the desk`; empty if it cannot be said."""
        support = support_of(thing, "source")
        if not bare(thing.name):
            return ""
        if support.kind == "floor":
            lower = [
                support_of(one, "source").kind in ("floor", "under") for one in self.facts.objects if one.id in rivals
            ]
            return "" if any(lower) else at(support, self.floor)[0]
        below = next((one for one in self.facts.objects if one.id == support.object), None)
        if below is None or not present(self.facts, below, "source"):
            return ""
        name = self._name_of(below)
        return at(support, name)[0] if name and not rivals & set(riders(self.facts, below.id, "source")) else ""

    def _fits(self, noun: str, other: SceneObject) -> bool:
        """Whether `noun` also fits another object: by its name, or by its category with its color.

        An object named `rightmost red mug` is also a red mug.
        """
        phrases = (bare(other.name), noun_phrase(self.facts, other, bare(other.category)))
        return any(f" {phrase}".endswith(f" {noun}") for phrase in phrases)

    def _in_source(self, thing: SceneObject) -> bool:
        return thing.source_box[2] > thing.source_box[0]


def noun_phrase(facts: PairFacts, thing: SceneObject, noun: str) -> str:
    """`noun` with the object's color, if it is known and `noun` does not name it."""
    color = dict(zip((other.id for other in facts.objects), facts.colours, strict=False)).get(thing.id, "")
    return f"{color} {noun}" if color and f" {color} " not in f" {noun} " else noun
