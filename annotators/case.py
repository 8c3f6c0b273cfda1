"""The facts of one pair as the templates need them: image size, names of objects, and relations.

Invariant: a name in `names` fits only one object of the source image, and that object is visible in both images.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ..shards.colors import Floats
from ..shards.schema import PairFacts, SceneObject
from .phrases import bare, definite
from .relations import Layout, Relation, StateName, present


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
            seen = present(self.facts, thing, "source") and present(self.facts, thing, "target")
            if thing.id not in self.facts.edit.edited and seen and (phrase := self.name_of(thing)):
                named[thing.id] = phrase
        return named

    @cached_property
    def edited_name(self) -> str:
        """The edited object's definite name (`name_of`)."""
        return self.name_of(self.edited)

    @cached_property
    def edited_noun(self) -> str:
        """The edited object's noun phrase (`noun_of`)."""
        return self.noun_of(self.edited)

    @cached_property
    def before(self) -> list[Relation]:
        """Relations of the edited object to the objects of `names` in the source."""
        return self.source_layout.relations(self.edited.id, list(self.names))

    @cached_property
    def after(self) -> list[Relation]:
        """The same in the target."""
        return self.target_layout.relations(self.edited.id, list(self.names))

    @cached_property
    def reached(self) -> list[Relation]:
        """The relations in the target that describe where the object ends: near objects, and not true of the source,
        even without a margin."""
        return [one for one in self.after if self.target_layout.near(one) and not self.source_layout.suggests(one)]

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

        If the bare name fits other objects, the object's side of the image is added.
        """
        noun = bare(thing.name)
        others = [other for other in self.facts.objects if other.id != thing.id and self._in_source(other)]
        rivals = [other for other in others if noun == "object" or self._fits(noun, other)]
        if not noun or not rivals:
            return definite(noun) if noun else ""
        x0, _, x1, _ = thing.source_box
        if x1 > x0 and all(x1 < other.source_box[0] for other in rivals):
            return f"{definite(noun)} on the left"
        if x1 > x0 and all(x0 > other.source_box[2] for other in rivals):
            return f"{definite(noun)} on the right"
        return ""

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
