"""Rendered pairs, and pairs derived from them: inverses, and pairs between the targets of two edits.

Invariant: nothing is rendered here, and the members that a derived pair reuses have the bytes of its origins.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...shards import codecs
from ...shards.geometry import psnr
from ...shards.sample import Reject, Row
from ...shards.schema import PairFacts
from ..blender.render import RenderedView
from ..changed_region import Changed, all_changed, changed_between
from ..derived import VIEWS, inverted_columns
from ..edits.composition import composed, named
from ..edits.inverse import inverted
from ..edits.judge import judge
from ..edits.limits import Limits
from ..scenes.spec import SceneSpec
from .facts import MapInfos, Seen, inverted_facts, pair_facts

Points = dict[int, NDArray[np.float32]]
"""Surface points (n, 3) of each object, by id: object frame, meters."""


@dataclass(frozen=True)
class RenderedPair:
    """A rendered or composed pair, with what is needed to derive others from it."""

    spec: SceneSpec
    seen: Seen
    row: Row
    target: RenderedView
    """The target as rendered."""
    changed: Changed

    @property
    def kept(self) -> RenderedView:
        """The target as stored: with the colors of the source outside `changed`."""
        return replace(self.target, rgb=self.changed.target_rgb)

    @property
    def facts(self) -> PairFacts:
        return PairFacts.model_validate_json(str(self.row.columns["facts"]))


def invert(origin: RenderedPair, limits: Limits) -> Row | Reject:
    """The inverse of a pair, or why it is rejected: its object is not visible enough in its source, or has no name."""
    back = inverted(origin.spec)
    if isinstance(back, str):
        return Reject(back, detail="the edited object of the inverse, in the image that is its source")
    if reason := judge(back, origin.seen[1], origin.seen[0], limits):
        return Reject(reason, detail="the inverse")
    return Row(inverted_columns(origin.row.columns, inverted_facts(back, origin.facts)))


def between(
    first: RenderedPair, second: RenderedPair, dataset: str, supports: bool, points: Points, limits: Limits
) -> RenderedPair | Reject:
    """The pair from the target of one edit to that of another of the same scene, or why it is rejected.

    Args:
        supports, points: see `pair_facts`.
    """
    spec = named(composed(first.spec, second.spec))
    if isinstance(spec, str):
        return Reject(spec, detail="the edited object of the composed edit, in the target of the first")
    seen = (first.seen[1], second.seen[1])
    if reason := judge(spec, *seen, limits):
        return Reject(reason, detail="the composed edit")
    views = (first.kept, second.kept)
    changed = _changed(spec, first, second)
    one, two = first.facts, second.facts
    maps = MapInfos(two.metric, one.metric, two.normal, one.normal)
    facts = pair_facts(spec, dataset, supports, views, seen, changed, maps, points)
    before, after = first.row.columns, second.row.columns
    columns = {
        **{source: before[target] for source, target in VIEWS},
        **{target: after[target] for _, target in VIEWS},
        "changed": codecs.encode_mask(changed.mask),
        "facts": facts.model_dump_json(),
    }
    return RenderedPair(spec, seen, Row(columns), second.target, changed)


def _changed(spec: SceneSpec, first: RenderedPair, second: RenderedPair) -> Changed:
    if not spec.edit.edited:
        return all_changed(first.kept, second.kept)
    either = first.changed.mask | second.changed.mask
    mask = changed_between(first.kept, second.kept, spec.moved, either)
    return Changed(mask, second.kept.rgb, psnr(first.target.rgb, second.target.rgb, ~mask), float(mask.mean()))
