"""Derived samples: they reuse the images and maps of their origins; their edit is computed.

Invariant: nothing is rendered, decoded or encoded again, so a derived image has the same bytes as its origin's image.
"""

from collections.abc import Mapping
from typing import Any, Final

from ..shards.sample import Columns, Reject, Sample
from ..shards.schema import SUPPORT_FIELDS, PairFacts, SceneObject

ORIGIN_REJECTED: Final = "origin_rejected"
"""Reject reason of a sample whose origin was rejected or quarantined."""
VIEWS: Final = (
    ("source", "target"),
    ("source_instances", "target_instances"),
    ("source_parts", "parts"),
    ("source_metric", "metric"),
    ("source_normal", "normal"),
)
"""Columns of layer `pair` that belong to the two images; `changed` and `facts` belong to both."""


def is_derived(sample: Sample) -> bool:
    return bool(sample.spec.get("derived"))


def origins_of(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Keys of the samples that a planned sample is derived from; empty if it is not derived."""
    return tuple(spec.get("origin", ()))


def origin_rejected(key: str, origin: object) -> Reject:
    """The reject of a sample whose origin has no row.

    Args:
        origin: the origin's reject; any other value if the origin is quarantined, so that the stage did not get it.
    """
    why = origin.reason if isinstance(origin, Reject) else "it is quarantined"
    return Reject(ORIGIN_REJECTED, detail=f"its origin {key}: {why}")


def inverted_columns(columns: Columns, facts: PairFacts) -> Columns:
    """The row of layer `pair` with source and target exchanged, and with its own facts."""
    swapped = dict(columns)
    for one, other in VIEWS:
        swapped[one], swapped[other] = columns[other], columns[one]
    return {**swapped, "facts": facts.model_dump_json()}


def swapped_facts(facts: PairFacts) -> PairFacts:
    """The facts with source and target exchanged, except the edit and the names, which are not symmetric."""
    measures = facts.measures
    return facts.model_copy(
        update={
            "camera": facts.camera.model_copy(update={"source": facts.camera.target, "target": facts.camera.source}),
            "objects": [_swapped(thing) for thing in facts.objects],
            "metric": facts.source_metric,
            "source_metric": facts.metric,
            "normal": facts.source_normal,
            "source_normal": facts.normal,
            "measures": measures.model_copy(
                update={"visible_source": measures.visible_target, "visible_target": measures.visible_source}
            ),
        }
    )


def _swapped(thing: SceneObject) -> SceneObject:
    supports = {"source_support": thing.target_support, "target_support": thing.source_support}
    return thing.model_copy(
        update={
            **(supports if thing.model_fields_set >= SUPPORT_FIELDS else {}),
            "source_pose": thing.target_pose,
            "target_pose": thing.source_pose,
            "source_box": thing.target_box,
            "target_box": thing.source_box,
            "source_visible": thing.target_visible,
            "target_visible": thing.source_visible,
        }
    )
