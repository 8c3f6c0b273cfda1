"""The interface of a kind of edit.

A kind is one module in this folder and one line in `annotators.edits.registry`. Its module holds everything in which
kinds differ: the sentences of the templates, the facts for a vision-language model, the claims that an instruction can
make and how they are judged, and when the edit cannot be seen. Modules that kinds share do not depend on them:
`annotators.phrases`, `annotators.relations`, `annotators.directions`, `annotators.wording`, `annotators.clauses`,
`annotators.measure`.
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
from ..clauses.supports import elsewhere
from ..measure import Images
from ..wording import Wordings

Fault = tuple[str, float]
"""Why a pair is rejected: the reason, and the measured value."""
PLACE_CLAIMS: Final = frozenset(
    {"object", "relation", "references", "frame", "support", "support_object", "shelf", "riders"}
)
"""Fields of `Claims` that most kinds that edit objects may set."""
ORIGIN_CLAIMS: Final = frozenset({"origin", "origin_object", "origin_shelf"})
"""Fields of `Claims` for what the object stands on in the source, as a place that it leaves."""


class Limits(Protocol):
    """The thresholds by which kinds decide that an edit cannot be seen.

    They are fields of `annotators.checks.GeometryChecks`, which users set under `layers.checks`. A new field changes
    the fingerprint of layer `checks`, so a new kind should use the existing thresholds if they fit.
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

    A word belongs to one kind only. Words of several kinds (`put`), and words that ask for nothing by themselves
    (`make`), are in `annotators.parser.verbs`.
    """

    verbs: str
    """Imperatives that ask for the edit (`move`)."""
    participles: str
    """As in `have it moved`."""
    nouns: str
    """As in `a rotation of the fan`."""
    after_object: str = ""
    """Verbs after their object, as in `let the cone turn to the left`."""


class Kind(ABC):
    """One kind of edit. Instances have no state. `annotators.edits.registry` holds one instance of each kind.

    Defining a subclass that lacks an attribute without default raises TypeError. Registering one that lacks an abstract
    method raises TypeError.
    """

    name: ClassVar[EditKind]
    summary: ClassVar[str]
    """The edit in words, for a vision-language model: `one object was moved`."""
    words: ClassVar[Words | None]
    """None if the parser has its own grammar for the kind (`annotators.parser.camera`)."""
    claims: ClassVar[frozenset[str]]
    """Fields of `Claims`, besides `edit`, that an instruction of this kind may set."""
    in_source: ClassVar[bool] = True
    """Whether the source image shows the edited objects."""
    in_target: ClassVar[bool] = True
    """Whether the target image shows the edited objects."""
    places_objects: ClassVar[bool] = False
    """Whether the edit decides where its objects stand in the target. If so, a relation in an instruction says where
    they end, else which object is meant."""
    verbs_of_camera: ClassVar[bool] = False
    """Whether its verbs may also ask for a camera edit (`move the camera`, `rotate the view`)."""

    def __init_subclass__(cls) -> None:
        missing = [name for name in Kind.__annotations__ if not hasattr(cls, name)]
        if missing:
            raise TypeError(f"{cls.__name__} does not define {', '.join(missing)}")

    @property
    def objects(self) -> int:
        """How many objects are edited: 0 if the camera moves."""
        return objects_edited(self.name)

    @property
    def by_red_box(self) -> bool:
        """Whether SpatialEdit's benchmark asks for it with a red box drawn on the source."""
        return asks_for_box(self.name)

    @property
    def moves_objects(self) -> bool:
        """Whether its objects move, so that a place named by an instruction must not already hold in the source."""
        return self.in_source and self.places_objects

    @abstractmethod
    def wordings(self, case: Case) -> Wordings:
        """All template sentences that are true of a pair, grouped by meaning. A group may be empty.

        Requires `can_name(case)`. The sample's key seeds the choice among the sentences: changing the number or order
        of groups or sentences changes the instructions of existing samples.
        """

    @abstractmethod
    def facts(self, case: Case) -> Iterator[str]:
        """Facts about the edit, one line each, for the prompt of a vision-language model."""

    @abstractmethod
    def clauses(
        self, claims: Claims, case: Case, fronts: Mapping[int, float], tolerances: Tolerances
    ) -> Iterator[Clause]:
        """Judge everything that claims of this kind say about the edit, except which object is meant.

        Args:
            claims: their `edit` is this kind, and so is the pair's.
            fronts: where the front of an object faces, by id: degrees about z from +x of its own frame.
        """

    @abstractmethod
    def unseen(self, facts: PairFacts, images: Images, limits: Limits) -> Iterable[Fault]:
        """Why the edit cannot be seen in the pair's images; empty if it is visible.

        `GeometryChecks` checks beforehand that the edited objects are visible, and neither too small nor too large.
        """

    def can_name(self, case: Case) -> bool:
        """Whether an instruction can name the edited objects.

        An object of the source needs a name that matches no other object. An inserted object needs only a noun.
        """
        return all(case.name_of(one) if self.in_source else case.noun_of(one) for one in case.edited_objects)

    def named_objects(self, phrase: str) -> dict[str, Any]:
        """Fields of `Claims` from the phrase after the verb, which names the edited objects. Empty for the camera.

        One phrase may name several objects; the kind decides which words belong to which field.
        """
        return {"object": phrase}

    def object_clauses(self, claims: Claims, case: Case) -> Iterator[Clause]:
        """Judge `claims.object`, which is not empty. The claims may be of another kind."""
        gone = elsewhere(claims, case, tells_which=not self.places_objects)
        yield object_clause(case, claims.object, case.edited, new=not self.in_source, elsewhere=gone)

    def amount(self, case: Case) -> float | None:
        """How large the edit is, for `slightly` and `far`: 1 is neither. None if the kind has no such amount."""
        return None

    def edit_error(self, edit: Edit, edited: SceneObject) -> float:
        """The difference between the edit's numbers and an edited object's poses, in tolerances: above 1 they disagree.

        0 if the poses do not determine the numbers.

        Args:
            edit: its numbers are known.
            edited: one of the edited objects; its poses are known.
        """
        return 0.0
