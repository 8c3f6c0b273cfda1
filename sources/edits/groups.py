"""Several edits of one scene, in groups: from the target of an edit to that of another one of its group, a single edit
leads.

The edits of a group change the same object (or objects, or the camera), those of different groups change different
ones. Invariant: as for `sources.edits.proposals`, a proposal depends only on its arguments, and attempts of one scene
number differ only in the edits.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from ...shards.geometry import wrap_degrees
from ...shards.schema import EditKind
from ..assets.asset import Asset
from ..scenes.kinds import Furniture
from ..scenes.layout import Scene
from ..scenes.rotations import free_turns
from ..scenes.spec import EditSpec, SceneOptions, SceneSpec, State
from ..scenes.standing import carries_along, holders, riders
from .composition import composed, looks_same
from .draft import Draft, specify
from .judge import forecast_fault
from .limits import forecast_limits
from .patterns import grouped
from .proposals import EDIT, EDITS_PER_SCENE, Rejection, generator, propose_edit, scene_for, scene_number
from .registry import RULES, composed_kind, composes_alone

_SECONDS: Final = 4
"""Edits that are tried for each edit of a group but the first."""
_ALIKE: Final = (0.2, 8.0, 0.08)
"""Two edits are nearly equal if their moves differ by less than this fraction of the longer one, their angles by less
than so many degrees, and their factors by less than this fraction."""


@dataclass(frozen=True)
class Proposal:
    """Edits of one scene."""

    specs: tuple[SceneSpec | str, ...]
    """With all objects of the scene; in place of an edit that was not found, the reason."""
    inserted: frozenset[int] = frozenset()
    """Ids of the objects that some of the edits insert. The other edits are of the scene without them (`without`)."""


def main_kind(kinds: Sequence[EditKind]) -> EditKind:
    """The kind of a group that composes with itself. The scene meets its needs: its partner, a removal, has none."""
    alone: list[EditKind] = [kind for kind in kinds if composes_alone(kind)]
    return (alone or kinds)[0]


def propose_group(
    assets: Sequence[Asset],
    kinds: Sequence[EditKind],
    options: SceneOptions,
    resolution: tuple[int, int],
    seed: int,
    attempt: int,
    furniture: Furniture | None = None,
) -> Proposal | Rejection:
    """Edits of one scene, of these kinds in this order.

    Two edits are both found, or rejected. Other arguments: see `proposals.propose`.
    """
    number, turn = scene_number(attempt), attempt % EDITS_PER_SCENE
    groups: list[Sequence[EditKind]] = [kinds[group.start : group.stop] for group in grouped(len(kinds))]
    mains: list[EditKind] = [main_kind(group) for group in groups]
    scene = scene_for(mains, assets, options, resolution, seed, number, furniture)
    if isinstance(scene, str):
        return Rejection(scene)
    found: list[SceneSpec | str] = []
    taken: set[int] = set()
    inserted: set[int] = set()
    for which, (own, main) in enumerate(zip(groups, mains, strict=True)):
        rng = generator(seed, number, EDIT, turn, *((which,) if which else ()))
        usable = _usable(scene, own, main, taken) if len(groups) > 1 else _without_riders(scene, own, main)
        specs = [usable] * len(own) if isinstance(usable, str) else _group(rng, usable, own, main, options, turn)
        found += specs
        edited = {id for spec in specs if isinstance(spec, SceneSpec) for id in spec.edit.edited}
        taken |= edited | holders(edited, scene.placements)
        taken |= {rider for id in edited for rider in riders(id, scene.placements)}
        inserted |= edited if not RULES[main].in_source else set()
    if len(kinds) <= 2 and (reasons := [spec for spec in found if isinstance(spec, str)]):
        return Rejection(reasons[0])
    return Proposal(tuple(found), frozenset(inserted))


def without(spec: SceneSpec, inserted: Collection[int]) -> SceneSpec | str:
    """An edit in the scene without what other edits insert, or why it cannot be without them.

    Args:
        inserted: `Proposal.inserted`.
    """
    absent = {*inserted} - {*spec.edit.edited}
    if not absent:
        return spec
    states: list[State] = []
    for state in (spec.source, spec.target):
        kept = {id: place for id, place in state.placements.items() if id not in absent}
        if holders([id for id, place in kept.items() if place.present], state.placements) & absent:
            return "stands_on_nothing"
        states.append(State(kept, state.camera))
    objects = tuple(placed for placed in spec.objects if placed.id not in absent)
    return replace(spec, objects=objects, source=states[0], target=states[1])


def _without_riders(scene: Scene, kinds: Sequence[EditKind], main: EditKind) -> Scene | str:
    """The scene, restricted to objects that carry nothing if some kind of the group requires it."""
    others: list[EditKind] = [*kinds]
    others.remove(main)
    if all(RULES[kind].needs.carriers for kind in others):
        return scene
    alone = tuple(id for id in scene.fit if not riders(id, scene.placements))
    return replace(scene, fit=alone) if alone else "nothing_to_edit"


def _usable(scene: Scene, kinds: Sequence[EditKind], main: EditKind, taken: Collection[int]) -> Scene | str:
    """The scene, restricted to objects that all kinds of a group may edit and that no other group changes."""
    needs = [RULES[kind].needs for kind in dict.fromkeys((main, *kinds))]

    def fits(id: int) -> bool:
        place = scene.placements[id]
        if any(one.turnable for one in needs) and not free_turns(scene.asset(id)):
            return False
        if any(one.upright for one in needs) and place.settled:
            return False
        carries = riders(id, scene.placements)
        return not carries or (
            all(one.carriers for one in needs) and carries_along(id, scene.placements) and not carries & {*taken}
        )

    fit = tuple(id for id in scene.fit if id not in taken and fits(id))
    return replace(scene, fit=fit) if fit or main == "camera" else "nothing_to_edit"


def _group(
    rng: np.random.Generator,
    scene: Scene,
    kinds: Sequence[EditKind],
    main: EditKind,
    options: SceneOptions,
    turn: int,
) -> list[SceneSpec | str]:
    """Edits of the same objects, in the order of `kinds`; in place of one that was not found, the reason."""
    # Those of the main kind first: the others are of the objects that it chooses.
    first, *others = sorted(range(len(kinds)), key=lambda index: kinds[index] != main)
    draft = propose_edit(rng, scene, kinds[first], options.min_visible, turn)
    if isinstance(draft, str):
        return [draft] * len(kinds)
    same = replace(scene, fit=draft.edit.edited) if draft.edit.edited else scene
    held, changes = {first: specify(scene, draft)}, [draft.edit]
    reasons: dict[int, str] = {}
    for index in others:
        kind = kinds[index]
        # A swap, which composes with no other edit, is of any objects.
        among = same if composed_kind(kind, main) else scene
        # With `turn` 1, a second insertion searches a place instead of taking the one of the layout.
        drafts = (propose_edit(rng, among, kind, options.min_visible, int(kind == main)) for _ in range(_SECONDS))
        distinct = changes if len(kinds) > 2 else None
        spec = _next(scene, drafts, index, held, distinct, options.min_visible)
        if isinstance(spec, str):
            reasons[index] = spec
        else:
            held[index] = spec
    return [held.get(index) or reasons[index] for index in range(len(kinds))]


def _next(
    scene: Scene,
    drafts: Iterable[Draft | str],
    index: int,
    held: Mapping[int, SceneSpec],
    distinct: list[EditSpec] | None,
    min_visible: float,
) -> SceneSpec | str:
    """The first draft whose target differs visibly from those of the edits `held`, or the most frequent reason.

    Args:
        index: number of the edit in its group.
        distinct: the edits so far, from the source and from target to target, to which none of the new ones may be
            nearly equal; these are added. None: they may.
    """
    faults: Counter[str] = Counter()
    for draft in drafts:
        if isinstance(draft, str):
            faults[draft] += 1
            continue
        spec = specify(scene, draft)
        pairs = [(one, spec) if other < index else (spec, one) for other, one in sorted(held.items())]
        between = [composed(*pair) for pair in pairs if composed_kind(pair[0].edit.kind, pair[1].edit.kind)]
        new = [spec.edit, *(one.edit for one in between)]
        fault = next(filter(None, (_fault_between(scene, one, min_visible) for one in between)), None)
        if fault is None and distinct is not None:
            if any(alike(a, b) for a in new for b in distinct):
                fault = "nearly_equal"
            else:
                distinct += new
        if fault is None:
            return spec
        faults[fault] += 1
    return faults.most_common(1)[0][0]


def _fault_between(scene: Scene, spec: SceneSpec, min_visible: float) -> str | None:
    if looks_same(spec):
        return "moved_too_little"
    return forecast_fault(scene, Draft(spec.edit, spec.source, spec.target), forecast_limits(min_visible))


def alike(one: EditSpec, other: EditSpec) -> bool:
    """Whether two edits of the same objects are nearly equal in all numbers; never insertions, which have none."""
    if one.kind != other.kind or not RULES[one.kind].numbers:
        return False
    share, degrees, factor = _ALIKE
    moves = np.array(one.translation), np.array(other.translation)
    longest = max(float(np.linalg.norm(move)) for move in moves)
    if float(np.linalg.norm(moves[0] - moves[1])) > share * longest:
        return False
    angles = ("rotation_deg", "yaw_deg", "pitch_deg")
    if any(abs(wrap_degrees(getattr(one, name) - getattr(other, name))) > degrees for name in angles):
        return False
    return all(abs(np.log(getattr(one, name) / getattr(other, name))) <= factor for name in ("scale", "zoom"))
