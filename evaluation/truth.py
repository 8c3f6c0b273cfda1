"""The exact answer to one instruction: both images, masks, depth and the record of a sample of recipe `full`.

Invariant: every array of a `Truth` has the size of the target image.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..annotators.edits.kind import Kind
from ..annotators.edits.registry import kind_of
from ..annotators.supports import carried_along
from ..shards.codecs import F32, U8, CodecError, Labels, Mask, decode_depth, decode_image, decode_labels, decode_mask
from ..shards.errors import BadInput
from ..shards.layout import find_shards
from ..shards.reader import ShardError, StoredSample, read_record, read_samples
from ..shards.schema import PairFacts, SampleRecord
from .plate import Plate, make_plate

NEEDED = ("source", "target", "source_instances", "target_instances", "changed", "json")
"""Members without which there is no exact answer."""


@dataclass(frozen=True)
class Truth:
    """One sample. Images uint8 (H, W, 3); instances (H, W), by object id; `changed` bool (H, W); depth float32 (H, W),
    planar z in meters, 0 where there is none, None where the shards have no metric depth."""

    key: str
    record: SampleRecord
    source: U8
    target: U8
    source_instances: Labels
    target_instances: Labels
    changed: Mask
    source_metric: F32 | None = None
    target_metric: F32 | None = None

    @classmethod
    def decode(cls, stored: StoredSample) -> "Truth":
        """Raises CodecError on damaged members, ValueError on a damaged record, BadInput if a member is missing."""
        members = stored.members
        if missing := [name for name in NEEDED if name not in members]:
            raise BadInput(f"sample {stored.key} has no {', '.join(missing)}: evaluate on shards of recipe full")
        record = read_record(members["json"])
        depths = {"source_metric": record.maps.source_metric, "metric": record.maps.metric}
        found = {name: decode_depth(members[name], info) for name, info in depths.items() if members.get(name)}
        return cls(
            key=stored.key,
            record=record,
            source=decode_image(members["source"]),
            target=decode_image(members["target"]),
            source_instances=decode_labels(members["source_instances"]),
            target_instances=decode_labels(members["target_instances"]),
            changed=decode_mask(members["changed"]),
            source_metric=found.get("source_metric"),
            target_metric=found.get("metric"),
        )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.target.shape[1], self.target.shape[0]

    @property
    def diagonal(self) -> float:
        """Of the image, in pixels."""
        return float(np.hypot(*self.size))

    @property
    def kind(self) -> Kind:
        return kind_of(self.record.edit.kind)

    @property
    def edited(self) -> tuple[int, ...]:
        """Ids of the edited objects; empty for the camera."""
        return self.record.edit.edited

    @cached_property
    def facts(self) -> PairFacts:
        """What the record holds of the facts that the geometry check reads; fronts, colors and rooms are not in it."""
        record = self.record
        return PairFacts(
            dataset=record.dataset, edit=record.edit, camera=record.camera, objects=record.objects, scene=record.scene
        )

    @cached_property
    def moving(self) -> tuple[int, ...]:
        """Ids of the edited objects and of what they carry along."""
        return (*self.edited, *carried_along(self.facts))

    def masks(self, id: int) -> tuple[Mask, Mask]:
        """An object's mask (H, W) in source and target."""
        return self.source_instances == id, self.target_instances == id

    @cached_property
    def plate(self) -> Plate:
        """The scene without what the edit moves."""
        labels = (self.source_instances, self.target_instances)
        before, after = (np.isin(each, self.moving) for each in labels)
        return make_plate((self.source, self.target), labels, (before, after))

    @cached_property
    def objects_mask(self) -> Mask:
        """The edited objects in the target, or in the source where the target does not show them; none of a camera."""
        labels = self.target_instances if self.kind.in_target else self.source_instances
        return np.isin(labels, self.edited)

    @property
    def category(self) -> str:
        """Of the edited object; empty for the camera."""
        return next((one.category for one in self.record.objects if one.id in self.edited), "")


def read_truths(url: str, keys: Collection[str] | None = None) -> Iterator[Truth]:
    """The samples of recipe `full` under `url` (as for `shards.layout.find_splits`), in the order of the shards.

    Args:
        keys: read only these; all if None.

    Raises BadInput where there are no such shards, ShardError where one is damaged.
    """
    for shard in find_shards(url, recipe="full"):
        for stored in read_samples(shard):
            if keys is None or stored.key in keys:
                try:
                    yield Truth.decode(stored)
                except (CodecError, ValueError) as error:
                    raise ShardError(shard, stored.key, f"it cannot be read ({error})") from error
