"""What the annotators must know of one kind of edit.

A kind is one module in this folder and one line in `annotators.edits.registry`. Its module holds everything in which
kinds differ: the sentences of the templates, the facts that a vision-language model gets, the claims that an
instruction makes and whether they are true, and when the edit cannot be seen. What kinds share is in modules that know
no kinds: `annotators.phrases`, `annotators.relations`, `annotators.directions`, `annotators.wording`,
`annotators.clauses`, `annotators.measure`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol

from ...shards.interop.wording import asks_for_box
from ...shards.schema import Edit, EditKind, PairFacts, SceneObject, objects_edited
from ..case import Case
from ..claims import Claims
from ..clauses.clause import Clause, Tolerances
from ..clauses.names import object_clause
from ..measure import Images
from ..wording import Wordings

Fault = tuple[str, float]
"""Why a pair is rejected: the reason, and the number that decided."""
PLACE_CLAIMS: Final = frozenset({"object", "relation", "references", "frame"})
"""Fields of `Claims` that an instruction of every kind that edits objects may set."""


class Limits(Protocol):
    """The thresholds by which kinds judge that an edit cannot be seen.

    These are fields of `annotators.checks.GeometryChecks`, so that a user sets them under `layers.checks`. A new field
    changes the fingerprint of layer `checks`: a new kind uses the existing thresholds where they fit.
    """

    @property
    def min_displacement(self) -> float: ...
    @property
    def min_object_change(self) -> float: ...
    @property
    def min_outline_change(self) -> float: ...
    @property
    def min_scale_change(self) -> float: ...
    @property
    def max_still(self) -> float: ...


@dataclass(frozen=True)
class Words:
    """English words by which the parser recognizes a kind: alternatives of regular expressions, joined by `|`.

    A word stands for one kind only. Words that stand for several (`put`), or for none without what follows (`make`),
    are in `annotators.parser.verbs`.
    """

    verbs: str
    """Imperatives that ask for the edit (`move`)."""
    participles: str
    """As in `have it moved`."""
    nouns: str
    """As in `a rotation of the fan`."""
    after_object: str = ""
    """A verb after the object that it speaks of, as in `let the cone turn to the left`."""


class Kind(ABC):
    """One kind of edit. Instances have no state; `annotators.edits.registry` holds one of each.

    A subclass without one of the attributes that have no default raises TypeError when it is defined; one without an
    abstract method raises TypeError when it is registered.
    """

    name: ClassVar[EditKind]
    summary: ClassVar[str]
    """What was done, for a vision-language model: `one object was moved`."""
    words: ClassVar[Words | None]
    """None where the parser reads the kind with a grammar of its own (`annotators.parser.camera`)."""
    claims: ClassVar[frozenset[str]]
    """Fields of `Claims`, besides `edit`, that an instruction of this kind may set."""
    in_source: ClassVar[bool] = True
    """Whether the source image shows the edited objects."""
    in_target: ClassVar[bool] = True
    """Whether the target image shows the edited objects."""
    places_objects: ClassVar[bool] = False
    """Whether the edit decides where its objects stand in the target. Then an instruction's relation says where they
    end; otherwise it says which object is meant."""
    verbs_of_camera: ClassVar[bool] = False
    """Whether its verbs may also ask for an edit of the camera (`move the camera`, `rotate the view`)."""

    def __init_subclass__(cls) -> None:
        missing = [name for name in Kind.__annotations__ if not hasattr(cls, name)]
        if missing:
            raise TypeError(f"{cls.__name__} does not define {', '.join(missing)}")

    @property
    def objects(self) -> int:
        """How many objects are edited: 0 where the camera moves."""
        return objects_edited(self.name)

    @property
    def by_red_box(self) -> bool:
        """Whether SpatialEdit's bench asks for it with a red box that is drawn on the source."""
        return asks_for_box(self.name)

    @property
    def moves_objects(self) -> bool:
        """Whether its objects go from one place to another: what an instruction says of the end must be new."""
        return self.in_source and self.places_objects

    @abstractmethod
    def wordings(self, case: Case) -> Wordings:
        """All sentences of the templates that are true of a pair, in groups that say the same; a group may be empty.

        `can_name` holds for the pair. The choice among the sentences is seeded by the sample's key: another number or
        order of groups or sentences changes the instruction of existing samples.
        """

    @abstractmethod
    def facts(self, case: Case) -> Iterator[str]:
        """What is known of the edit, one line each, for the prompt of a vision-language model."""

    @abstractmethod
    def clauses(
        self, claims: Claims, case: Case, fronts: Mapping[int, float], tolerances: Tolerances
    ) -> Iterator[Clause]:
        """Judge all that claims of this kind say about the edit, other than which object is meant.

        Args:
            claims: their `edit` is this kind, and so is the pair's.
            fronts: where the front of an object faces, by id: degrees about z from +x of its own frame.
        """

    @abstractmethod
    def unseen(self, facts: PairFacts, images: Images, limits: Limits) -> Iterable[Fault]:
        """Why nobody could see the edit in the pair's images; nothing where it is visible.

        `GeometryChecks` has checked before that the edited objects are visible, and neither too small nor too large.
        """

    def can_name(self, case: Case) -> bool:
        """Whether an instruction can say which objects are meant.

        An object of the source needs a name that fits no other object; an object that comes needs only a noun.
        """
        return all(case.name_of(one) if self.in_source else case.noun_of(one) for one in case.edited_objects)

    def named_objects(self, phrase: str) -> dict[str, Any]:
        """Fields of `Claims` for the phrase after the verb, which names the edited objects; empty for the camera.

        One phrase may name several objects: which words belong to which field is known only to the kind.
        """
        return {"object": phrase}

    def object_clauses(self, claims: Claims, case: Case) -> Iterator[Clause]:
        """Judge which object `claims.object`, which is not empty, means. The claims may be of another kind."""
        yield object_clause(case, claims.object, case.edited, new=not self.in_source)

    def amount(self, case: Case) -> float | None:
        """How large the edit is, for `slightly` and `far`: 1 where it is neither. None where it has no such amount."""
        return None

    def edit_error(self, edit: Edit, edited: SceneObject) -> float:
        """How far the edit's numbers are from what an edited object's poses say, in tolerances: above 1 they disagree.

        0 where the poses say nothing of the numbers.

        Args:
            edit: its numbers are known.
            edited: one of the edited objects; its poses are known.
        """
        return 0.0
