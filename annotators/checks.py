"""Checks each pair's stored pixels against its facts, and its instruction against the geometry.

Invariant: in an accepted pair, boxes match masks, masks lie where poses and camera project them, the images are equal
bit for bit outside `changed`, the edit is visible, and geometry does not contradict the text (unless the configuration
keeps such texts). What only the renderer can measure is taken from `facts.measures`. A measure of -1 is unknown and is
not judged.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..shards.errors import BadInput
from ..shards.geometry import box_of_mask, displacement
from ..shards.sample import Reject, Result, Row, Sample
from ..shards.schema import Instruction, PairFacts, SceneObject, Scores
from ..shards.stage import Stage
from .case import Case
from .claims import Claims
from .clauses.clause import Clause, Tolerances
from .edits.kind import Fault
from .edits.registry import kind_of
from .measure import Images, SizeMismatch, carried_error, hull_fill, outside_projection, speckle
from .relations import Layout, StateName, box_share
from .supports import carried_along
from .verdict.colors import caption_clause
from .verdict.instruction import Checked, OnContradiction, check_instruction

_MIN_VISIBLE_SHARE = 0.01
"""Visible share of an object below which it counts as not visible at all."""
_COVERING = ("inside", "under", "shelf")
"""Kinds of support that hide a part of what stands there."""
_MIN_SHAPE_PX = 32
"""Pixels of the smallest mask whose shape is judged."""
_HULL_FILLS, _SPECKLE_FACTORS = (0.5, 0.65), (1.0, 0.5)
"""`_HULL_FILLS`: share of its hull that an open mask (leaves) fills at most, and that a compact mask fills at least.
`_SPECKLE_FACTORS`: the factor on `max_speckle` for each of the two; interpolated linearly in between."""


@dataclass(frozen=True)
class GeometryChecks(Stage):
    """Columns: `scores` (JSON of shards.schema.Scores), `accepted` (true: others are rejects), `reason` (empty),
    `instruction_verdict` (JSON of annotators.verdict.instruction.Checked), `instruction` (JSON of the
    shards.schema.Instruction that replaces the checked one, empty if it is kept)."""

    layer: ClassVar[str] = "checks"
    needs: ClassVar[tuple[str, ...]] = ("pair", "instruction")
    version: ClassVar[int] = 11

    min_visible: float = 0.35
    """Visible share of the edited object's own pixels."""
    min_visible_behind: float = 0.2
    """The same in a target where the object is placed behind or into something."""
    min_displacement: float = 0.02
    """Displacement of a moved object's mask center, over the image's smaller side. A smaller displacement is accepted
    if the outline changes."""
    min_object_change: float = 0.06
    """Share of a rotated object's area whose appearance changes (`Images.appearance_change`). Measured on renders, for
    rotations by 30 to 180 degrees: stools 0.00 to 0.04; barrels, round tables and plain vases 0.00; a crate rotated by
    30 degrees 0.10; a bottle whose label turns out of sight 0.16; chairs 0.10 to 0.69. A smaller change is accepted if
    the outline changes."""
    min_outline_change: float = 1.15
    """Factor by which the aspect ratio of the object's box changes. Measured: stools 1.06 at most, mugs whose handle
    comes into sight 1.26 to 1.42."""
    min_shown: float = 0.2
    """Share of any visible object that is in sight, in both images. An object that the frame or other objects cut to
    less is a sliver."""
    min_scale_change: float = 1.1
    """Ratio of the mask areas of a scaled object."""
    max_still: float = 0.9
    """Camera edits: IoU of an object's two boxes above which it counts as still. Not all objects may be still."""
    min_area: float = 0.002
    max_area: float = 0.6
    """Share of the frame that the edited object covers, in each image that shows it."""
    max_speckle: float = 0.45
    """Share of a mask that is single pixels and single holes, for each object of 32 pixels or more; half of this value
    for masks that fill 0.65 of their hull or more. Measured (benchmarks/broken_masks.py): a plant of separate leaves
    0.18 to 0.40, other open shapes up to 0.25, compact ones up to 0.13; randomly chosen pixels of a box 0.34 (70 % of
    them) to 1.01 (10 %)."""
    max_changed: float = 0.9
    """Share of the frame that `changed` covers, for all edits except camera edits."""
    min_box_iou: float = 0.7
    min_mask_iou: float = 0.6
    min_psnr: float = 38.0
    """PSNR in dB outside `changed`, before the source's pixels are copied there."""
    on_contradiction: OnContradiction = "reject"
    """What happens if geometry contradicts an instruction. `reject`: the sample is rejected. `rewrite`: the instruction
    is rewritten from the templates, or the sample is rejected if no template fits. `keep`: the instruction is kept,
    unverified."""
    length_tolerance: float = 0.15
    """Share of a move's length by which an instruction may be off. Beyond twice this share, it is contradicted."""
    angle_tolerance: float = 7.5
    """The same for a rotation or an orbit, in degrees; half of it for the camera's pitch."""
    factor_tolerance: float = 0.1
    """The same for a change of size or of the camera's distance, as a share."""
    batch_size: int = field(default=8, metadata={"fingerprint": False})
    cpus: float = field(default=1.0, metadata={"fingerprint": False})
    gpus: float = field(default=0.0, metadata={"fingerprint": False})

    def __post_init__(self) -> None:
        for name in ("length_tolerance", "angle_tolerance", "factor_tolerance"):
            if not getattr(self, name) > 0:
                raise BadInput(f"layers.checks.{name} is {getattr(self, name)}: give a number above 0")

    @property
    def columns(self) -> Mapping[str, tuple[str, ...]]:
        """All columns of `instruction` are read: `claims` exists only if a model wrote the instruction."""
        return {"pair": ("facts", "source", "target", "source_instances", "target_instances", "changed")}

    def __call__(self, model: None, samples: Sequence[Sample]) -> Sequence[Result]:
        return [self._check(sample) for sample in samples]

    def _check(self, sample: Sample) -> Result:
        pair = sample["pair"]
        facts = PairFacts.model_validate_json(str(pair["facts"]))
        try:
            images = Images.decode(pair)
        except SizeMismatch as mismatch:
            return Reject("size_mismatch", detail=str(mismatch))
        scores = _measure_scores(facts, images)
        for reason, score in self._faults(facts, images, scores):
            return Reject(reason, round(float(score), 6), scores.model_dump_json())
        height, width = images.source.shape[:2]
        case = Case(facts, width, height, images.colors())
        checked = self._check_instruction(sample, case)
        verdict = checked.verdict
        scores = scores.model_copy(update={"instruction_check": verdict.score})
        if verdict.outcome == "contradicted" and self.on_contradiction != "keep":
            return Reject("instruction_contradicted", verdict.score, verdict.failing, scores=scores.model_dump())
        if (wrong := _false_caption(sample, case)) and self.on_contradiction != "keep":
            return Reject("caption_contradicted", detail=str(wrong), scores=scores.model_dump())
        return Row(
            {
                "scores": scores.model_dump_json(),
                "accepted": True,
                "reason": "",
                "instruction_verdict": checked.as_json(),
                "instruction": checked.instruction.model_dump_json() if checked.changed else "",
            }
        )

    def _check_instruction(self, sample: Sample, case: Case) -> Checked:
        columns = sample["instruction"]
        instruction = Instruction.model_validate_json(str(columns["instruction"]))
        claims = Claims.model_validate_json(str(columns["claims"])) if columns.get("claims") else None
        tolerances = Tolerances(self.length_tolerance, self.angle_tolerance, self.factor_tolerance)
        return check_instruction(instruction, claims, case, sample.key, self.on_contradiction, tolerances)

    def _faults(self, facts: PairFacts, images: Images, scores: Scores) -> Iterator[Fault]:
        """The faults of a pair, most severe first."""
        yield from _contradictions(facts, images)
        yield from self._broken_masks(facts, images)
        yield from self._slivers(facts)
        if facts.edit.edited:
            yield from self._poorly_visible(facts, images, scores)
            if scores.changed_fraction > self.max_changed:
                yield "changes_everything", scores.changed_fraction
        yield from kind_of(facts.edit.kind).unseen(facts, images, self)
        for reason, score, least in (
            ("box_disagrees", scores.box_iou, self.min_box_iou),
            ("mask_disagrees", scores.mask_iou, self.min_mask_iou),
            ("background_moved", scores.psnr_unchanged, self.min_psnr),
        ):
            if 0 <= score < least:
                yield reason, score

    def _broken_masks(self, facts: PairFacts, images: Images) -> Iterator[Fault]:
        """Objects whose mask is scattered pixels: the renderer or the release failed to segment them."""
        for thing in facts.objects:
            for mask in images.masks(thing.id):
                if np.count_nonzero(mask) >= _MIN_SHAPE_PX:
                    broken = speckle(mask)
                    if broken > self.max_speckle * float(np.interp(hull_fill(mask), _HULL_FILLS, _SPECKLE_FACTORS)):
                        yield "mask_broken_up", broken

    def _slivers(self, facts: PairFacts) -> Iterator[Fault]:
        """Objects, in either image, that are too little visible to be recognized.

        Of a table with things on it, the frame may cut off any part. Of what is in a container, the container and what
        lies above may hide any part: a bowl of fruit shows its upper ones.
        """
        states: tuple[StateName, StateName] = ("source", "target")
        carriers = {
            "source": {one.source_support.object for one in facts.objects},
            "target": {one.target_support.object for one in facts.objects},
        }
        for thing in facts.objects:
            for state in states:
                support = thing.source_support if state == "source" else thing.target_support
                if thing.id in carriers[state] or support.kind == "inside":
                    continue
                visible = thing.source_visible if state == "source" else thing.target_visible
                box = thing.source_box if state == "source" else thing.target_box
                # The mask's box of a whole object covers at least half of its projected bounding box.
                share = min(visible, 2 * box_share(facts, thing, state))
                if thing.known and any(box) and visible > _MIN_VISIBLE_SHARE and share < self.min_shown:
                    yield "sliver", share

    def _poorly_visible(self, facts: PairFacts, images: Images, scores: Scores) -> Iterator[Fault]:
        """Edited objects that are poorly visible where they should be shown, or visible where they should be absent."""
        kind, edited = kind_of(facts.edit.kind), facts.edit.edited
        layout = Layout(facts, "target")
        relations = {relation.kind for id in edited for relation in layout.relations(id, images.ids)}
        covered = any(one.target_support.kind in _COVERING for one in facts.objects if one.id in edited)
        intended = (bool(relations & {"behind", "into"}) or covered) and kind.places_objects
        min_visible_target = self.min_visible_behind if intended else self.min_visible
        for present, labels, visible, least in (
            (kind.in_source, images.source_labels, scores.visible_source, self.min_visible),
            (kind.in_target, images.target_labels, scores.visible_target, min_visible_target),
        ):
            areas = [float(np.mean(labels == id)) for id in edited]
            if present:
                yield from self._visibility_and_area(areas, visible, least)
            else:
                yield from (("object_not_absent", area) for area in areas if area > 0)

    def _visibility_and_area(self, areas: Sequence[float], visible: float, least: float) -> Iterator[Fault]:
        """Objects that are hidden, or that cover too little or too much of an image."""
        if 0 <= visible < least:
            yield "hidden", visible
        for area in areas:
            if not self.min_area <= area:
                yield "too_small", area
            if area > self.max_area:
                yield "too_large", area


def _false_caption(sample: Sample, case: Case) -> Clause | None:
    """The clause of a caption that names a color that its image does not show, or None."""
    columns = sample["instruction"]
    captions: tuple[tuple[str, StateName], ...] = (("caption", "target"), ("source_caption", "source"))
    found = (caption_clause(case, str(columns.get(column, "")), state) for column, state in captions)
    return next((clause for clause in found if clause), None)


def _measure_scores(facts: PairFacts, images: Images) -> Scores:
    """Scores measured on the pixels; those that pixels cannot give are taken from `facts.measures`."""
    measures = facts.measures
    moved = min((displacement(*images.masks(id)) for id in facts.edit.edited), default=-1.0)
    return Scores(
        visible_source=measures.visible_source,
        visible_target=measures.visible_target,
        displacement_px=moved,
        displacement_m=measures.displacement_m if moved >= 0 else -1.0,
        changed_fraction=round(float(images.changed.mean()), 6),
        psnr_unchanged=measures.psnr_unchanged,
        box_iou=measures.box_iou,
        mask_iou=measures.mask_iou,
    )


def _contradictions(facts: PairFacts, images: Images) -> Iterator[Fault]:
    """Facts and pixels that contradict each other: an error of the renderer or the source, whatever the thresholds."""
    known = {thing.id for thing in facts.objects}
    unknown = set(images.ids) - known
    if unknown:
        yield "unknown_label", float(min(unknown))
    for thing in facts.objects:
        masks = images.masks(thing.id)
        for mask, box in zip(masks, (thing.source_box, thing.target_box), strict=True):
            if box_of_mask(mask) != list(box):
                yield "box_is_not_the_masks", float(thing.id)
        if thing.known and facts.camera.source.known:
            for outside in outside_projection(facts, thing):
                if outside > 0:
                    yield "pose_disagrees", outside
    if (error := edit_error(facts)) > 1:
        yield "edit_disagrees", error
    if not facts.edit.edited:
        return
    leaked = float(images.unequal[~images.changed].sum())
    if leaked:
        yield "differs_outside_changed", leaked
    for id in (*facts.edit.edited, *(one.id for one, _ in carried(facts))):
        before, after = images.masks(id)
        missed = float((before | after)[~images.changed].sum())
        if missed:
            yield "changed_misses_object", missed


def edit_error(facts: PairFacts) -> float:
    """Error of the edit's numbers against the poses of the edited objects, and of the poses of what moves along with
    them, in tolerances: above 1 they disagree.

    Infinite if the number of edited objects in the facts is not that of the edit kind.
    """
    kind, edit = kind_of(facts.edit.kind), facts.edit
    edited = [one for one in facts.objects if one.id in edit.edited]
    if len(edited) != kind.objects:
        return float("inf")
    numbers = [kind.edit_error(edit, one) for one in edited if edit.known and one.known]
    along = [carried_error(one, below) for one, below in carried(facts)]
    return max([*numbers, *along], default=0.0)


def carried(facts: PairFacts) -> list[tuple[SceneObject, SceneObject]]:
    """What stands on an edited object, on what stands on that, and so on, each with the object on which it stands."""
    things = {one.id: one for one in facts.objects}
    return [(things[id], things[things[id].source_support.object]) for id in carried_along(facts)]
