"""Which kinds of edits share a scene, and how many samples they give: decided when a build is planned.

The edits of a scene are in groups. Those of a group are of the same object (or objects, or the camera), so a single
edit leads from the target of one to that of another.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Final

from ...shards.schema import EDIT_KINDS, EditKind
from .registry import RULES, composed_kind, composes_alone, partners_of

GROUP: Final = 3
"""Most edits in a group: three targets and their source are six pairs of images that differ by one edit."""
_LONE: Final[tuple[EditKind, ...]] = tuple(kind for kind in EDIT_KINDS if not composes_alone(kind))
"""Kinds that cannot share a scene with another edit of the same kind."""
Patterns = Mapping[tuple[EditKind, ...], float]
"""The weight of each sequence of kinds that a group of edits may have."""


def group_sizes(count: int) -> tuple[int, ...]:
    """Sizes of the groups of `count` edits of one scene, as equal as possible, larger ones first."""
    groups = -(-count // GROUP)
    return tuple(count // groups + (index < count % groups) for index in range(groups))


def grouped(count: int) -> Iterator[range]:
    """The numbers of the edits of each group."""
    first = 0
    for size in group_sizes(count):
        yield range(first, first + size)
        first += size


def scene_patterns(weights: Mapping[EditKind, float], per_scene: int) -> list[Patterns]:
    """The kinds of each group of edits of a scene, weighted so that each kind occurs in proportion to its own weight.

    A kind that composes with itself fills a group. One that does not (a removal) is the first or the last of a group of
    a kind that it composes with (a move, a rotation or a scaling), drawn in proportion to their weights. A kind that
    composes with no other one (a swap) is in at most one group, the last, after others of these kinds.

    Args:
        weights: weights that `Config` accepts.
    """
    sizes = group_sizes(per_scene)
    rest = dict(weights)
    last: dict[tuple[EditKind, ...], float] = {}
    for kind in weights if sizes[-1] > 1 else ():
        if RULES[kind].composes:
            continue
        del rest[kind]
        share = per_scene * weights[kind] / sum(weights.values())
        partners: dict[EditKind, float] = {o: weights[o] for o in partners_of(kind) if o in weights}
        for other, weight in partners.items():
            part = weight / sum(partners.values())
            alike: tuple[EditKind, ...] = (other,) * (sizes[-1] - 1)
            last[*alike, kind] = share * part
            rest[other] -= part * weights[kind] * (sizes[-1] - 1)
    found = [_patterns(rest, size) for size in sizes]
    if last:
        scale = (1.0 - sum(last.values())) / sum(found[-1].values())
        found[-1] = {kinds: weight * scale for kinds, weight in found[-1].items()} | last
    return [{kinds: weight for kinds, weight in one.items() if weight > 1e-9 * sum(one.values())} for one in found]


def _patterns(weights: Mapping[EditKind, float], size: int) -> Patterns:
    """The kinds of a group of edits that all compose."""
    if size == 1:
        return {(kind,): weight for kind, weight in weights.items()}
    lone: dict[EditKind, float] = {
        kind: sum(weights.get(other, 0.0) for other in partners_of(kind)) for kind in weights if kind in _LONE
    }
    found: dict[tuple[EditKind, ...], float] = {}
    for kind, weight in weights.items():
        if kind in lone:
            continue
        taken: dict[EditKind, float] = {
            other: weights[other] * weight / total
            for other, total in lone.items()
            if total and composed_kind(other, kind)
        }
        found[(kind,) * size] = (weight - (size - 1) * sum(taken.values())) / size
        for other, share in taken.items():
            rest = (kind,) * (size - 1)
            found |= {(*rest, other): share / 2, (other, *rest): share / 2}
    return found


def rows_of_scene(weights: Mapping[EditKind, float], per_scene: int, invert: bool, most: int | None = None) -> int:
    """Number of samples of each scene, with derived ones.

    A group has as many composed samples as every one of its patterns allows.

    Args:
        most: `edits.pairs_per_scene`.
    """
    groups = scene_patterns(weights, per_scene)
    composed = sum(min(len(composed_pairs(pattern)) for pattern in group) for group in groups)
    each = 2 if invert else 1
    return each * min(per_scene + composed, most // each if most else per_scene + composed)


def composed_pairs(pattern: tuple[EditKind, ...]) -> list[tuple[int, int]]:
    """The pairs of edits of a group, by their numbers in it, whose targets differ by one edit."""
    pairs = combinations(range(len(pattern)), 2)
    return [(one, other) for one, other in pairs if composed_kind(pattern[one], pattern[other])]


def fault_of(weights: Mapping[EditKind, float], per_scene: int) -> str:
    """Why scenes cannot have edits of these weights, as a sentence for the user; empty if they can."""
    size, total = group_sizes(per_scene)[0], sum(weights.values())
    single: dict[EditKind, float] = {kind: weight for kind, weight in weights.items() if not RULES[kind].composes}
    for kind, weight in single.items():
        if per_scene == 2:
            return f"{RULES[kind].noun} cannot be composed with another edit of its scene: set edits.{kind} to 0"
        if per_scene * sum(single.values()) > total:
            most = total / per_scene
            noun = RULES[kind].noun
            return f"a scene has at most one {noun}: the weight of {kind} must be at most {most:g} (got {weight:g})"
    lone: dict[EditKind, float] = {kind: weight for kind, weight in weights.items() if not composes_alone(kind)}
    for kind in lone:
        partners = partners_of(kind)
        alike: list[EditKind] = [other for other in lone if partners_of(other) == partners]
        needed = (size - 1) * sum(lone[other] for other in alike)
        there = sum(weights.get(other, 0.0) for other in partners)
        if size > 1 and needed > there:
            nouns, count = " and ".join(f"each {RULES[other].noun}" for other in alike), size - 1
            return (
                f"{nouns} needs {count} other edit{'s' * (count > 1)} of its scene: the weights of "
                f"{', '.join(partners)} must sum to at least {needed:g} (they sum to {there:g})"
            )
    return ""
