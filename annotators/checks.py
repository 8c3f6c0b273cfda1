"""Whether a pair shows what its facts say, measured again on the stored pixels, and whether its instruction is true.

Invariant: an accepted pair is coherent (boxes are those of the masks, masks lie where poses and camera put them, the
images are bit-equal outside `changed`), its edit can be seen, and its text is not what geometry contradicts, unless the
configuration keeps that. What only the maker could measure comes from its measures; what nobody measured stays -1 and
is not judged.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..shards.errors import BadInput
from ..shards.geometry import box_of_mask, displacement
from ..shards.sample import Reject, Result, Row, Sample
from ..shards.schema import Instruction, PairFacts, Scores
from ..shards.stage import Stage
from .case import Case
from .claims import Claims
from .clauses.clause import Clause, Tolerances
from .edits.kind import Fault
from .edits.registry import kind_of
from .measure import Images, Misfit, hull_fill, outside_projection, speckle
from .relations import Layout, StateName, box_share
from .verdict.colors import caption_clause
from .verdict.instruction import Checked, OnContradiction, check_instruction

_GONE = 0.01
"""Of an object: less is not seen at all."""
_LEAST_SHAPE = 32
"""Pixels from which a mask's shape says something."""
_FILLS, _ALLOWED = (0.5, 0.65), (1.0, 0.5)
"""Shares of its hull that the mask of an open thing (leaves) fills at most, and of a compact one at least, where holes
of one pixel are not its own; and how much of `max_speckle` each may have. Between the two on a line."""


@dataclass(frozen=True)
class GeometryChecks(Stage):
    """Columns: `scores` (JSON of shards.schema.Scores), `accepted` (true: others are rejects), `reason` (empty),
    `instruction_verdict` (JSON of annotators.verdict.instruction.Checked), `instruction` (JSON of
    shards.schema.Instruction where it shall take the place of the one that was checked, else empty)."""

    layer: ClassVar[str] = "checks"
    needs: ClassVar[tuple[str, ...]] = ("pair", "instruction")
    version: ClassVar[int] = 11

    min_visible: float = 0.35
    """Of the edited object's own pixels."""
    min_visible_behind: float = 0.2
    """The same where the edit puts it behind or into something."""
    min_displacement: float = 0.02
    """Of a moved object's mask centre, over the image's smaller side; less counts where its outline changes."""
    min_object_change: float = 0.06
    """Of what a turned object covers that looks different at a glance. Measured of renders, turns by 30 to 180 degrees:
    stools 0.00 to 0.04, barrels, round tables and plain vases 0.00, a crate by 30 degrees 0.10, a bottle whose label
    goes out of sight 0.16, chairs 0.10 to 0.69. Less counts where its proportions change."""
    min_outline_change: float = 1.15
    """That change: by which factor its box grows wide or narrow for its height. Stools 1.06 at most, mugs whose handle
    comes into sight 1.26 to 1.42."""
    min_shown: float = 0.2
    """Of any object of which something is seen, in both images: what the frame or others cut to less is a sliver."""
    min_scale_change: float = 1.1
    """Ratio of the mask areas where it is scaled."""
    max_still: float = 0.9
    """Camera edits: an object whose box has more than this in common with itself stands still; not all may."""
    min_area: float = 0.002
    max_area: float = 0.6
    """Of the frame, for the edited object wherever it is seen."""
    max_speckle: float = 0.45
    """Share of a mask that is single pixels and single holes, for each object of 32 pixels or more; half of it where
    the mask fills 0.7 of its hull and more. Measured (benchmarks/broken_masks.py): a plant of single leaves 0.18 to
    0.40, other open shapes up to 0.25, compact ones up to 0.13; pixels drawn by lot 0.34 (70 % of a box)
    to 1.01 (10 %)."""
    max_changed: float = 0.9
    """Of the frame, for all but camera edits."""
    min_box_iou: float = 0.7
    min_mask_iou: float = 0.6
    min_psnr: float = 38.0
    """dB outside `changed`, before the source's pixels were copied there."""
    on_contradiction: OnContradiction = "reject"
    """What becomes of an instruction that geometry contradicts: the sample is rejected, the instruction is rewritten
    from the templates (rejected where those have none), or all is kept as it is, not verified."""
    length_tolerance: float = 0.15
    """Share of a move's length by which an instruction may be off; beyond twice that it is contradicted."""
    angle_tolerance: float = 7.5
    """The same of a turn or an orbit, degrees; half of it for the camera's rise."""
    factor_tolerance: float = 0.1
    """The same of a change of size or of the camera's distance, as a share."""
    batch_size: int = field(default=8, metadata={"fingerprint": False})
    cpus: float = field(default=1.0, metadata={"fingerprint": False})
    gpus: float = field(default=0.0, metadata={"fingerprint": False})

    def __post_init__(self) -> None:
        for name in ("length_tolerance", "angle_tolerance", "factor_tolerance"):
            if not getattr(self, name) > 0:
                raise BadInput(f"layers.checks.{name} is {getattr(self, name)}: give a number above 0")

    @property
    def columns(self) -> Mapping[str, tuple[str, ...]]:
        """Of `instruction` all: `claims` is there where a model wrote it."""
        return {"pair": ("facts", "source", "target", "source_instances", "target_instances", "changed")}

    def __call__(self, model: None, samples: Sequence[Sample]) -> Sequence[Result]:
        return [self._check(sample) for sample in samples]

    def _check(self, sample: Sample) -> Result:
        pair = sample["pair"]
        facts = PairFacts.model_validate_json(str(pair["facts"]))
        try:
            images = Images.decode(pair)
        except Misfit as misfit:
            return Reject("size_mismatch", detail=str(misfit))
        scores = _scores(facts, images)
        for reason, score in self._faults(facts, images, scores):
            return Reject(reason, round(float(score), 6), scores.model_dump_json())
        height, width = images.source.shape[:2]
        case = Case(facts, width, height, images.colors())
        told = self._check_instruction(sample, case)
        scores = scores.model_copy(update={"instruction_check": told.verdict.score})
        if told.verdict.outcome == "contradicted" and self.on_contradiction != "keep":
            measured = scores.model_dump()
            return Reject("instruction_contradicted", told.verdict.score, told.verdict.failing, scores=measured)
        if (wrong := _false_caption(sample, case)) and self.on_contradiction != "keep":
            return Reject("caption_contradicted", detail=str(wrong), scores=scores.model_dump())
        return Row(
            {
                "scores": scores.model_dump_json(),
                "accepted": True,
                "reason": "",
                "instruction_verdict": told.as_json(),
                "instruction": told.instruction.model_dump_json() if told.changed else "",
            }
        )

    def _check_instruction(self, sample: Sample, case: Case) -> Checked:
        told = sample["instruction"]
        instruction = Instruction.model_validate_json(str(told["instruction"]))
        claims = Claims.model_validate_json(str(told["claims"])) if told.get("claims") else None
        tolerances = Tolerances(self.length_tolerance, self.angle_tolerance, self.factor_tolerance)
        return check_instruction(instruction, claims, case, sample.key, self.on_contradiction, tolerances)

    def _faults(self, facts: PairFacts, images: Images, scores: Scores) -> Iterator[Fault]:
        """What is wrong with a pair, the gravest first."""
        yield from _incoherent(facts, images)
        yield from self._broken_up(facts, images)
        yield from self._slivers(facts)
        if facts.edit.edited:
            yield from self._badly_seen(facts, images, scores)
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

    def _broken_up(self, facts: PairFacts, images: Images) -> Iterator[Fault]:
        """An object whose mask is no shape: the renderer or the release could not tell what is seen of it."""
        for thing in facts.objects:
            for mask in images.masks(thing.id):
                if np.count_nonzero(mask) >= _LEAST_SHAPE:
                    broken = speckle(mask)
                    if broken > self.max_speckle * float(np.interp(hull_fill(mask), _FILLS, _ALLOWED)):
                        yield "mask_broken_up", broken

    def _slivers(self, facts: PairFacts) -> Iterator[Fault]:
        """Any object, in either image, of which too little is left to be seen as what it is."""
        states: tuple[StateName, StateName] = ("source", "target")
        for thing in facts.objects:
            for state in states:
                visible = thing.source_visible if state == "source" else thing.target_visible
                box = thing.source_box if state == "source" else thing.target_box
                # The box of a whole object fills half of its projected bounding box and more.
                share = min(visible, 2 * box_share(facts, thing, state))
                if thing.known and any(box) and visible > _GONE and share < self.min_shown:
                    yield "sliver", share

    def _badly_seen(self, facts: PairFacts, images: Images, scores: Scores) -> Iterator[Fault]:
        """An edited object that an image which should show it does not show well, or that should be absent."""
        kind, edited = kind_of(facts.edit.kind), facts.edit.edited
        layout = Layout(facts, "target")
        hidden = {relation.kind for id in edited for relation in layout.relations(id, images.ids)}
        asked = bool(hidden & {"behind", "into"}) and kind.places_objects
        min_visible_target = self.min_visible_behind if asked else self.min_visible
        for present, labels, visible, least in (
            (kind.in_source, images.source_labels, scores.visible_source, self.min_visible),
            (kind.in_target, images.target_labels, scores.visible_target, min_visible_target),
        ):
            areas = [float(np.mean(labels == id)) for id in edited]
            if present:
                yield from self._ill_sized(areas, visible, least)
            else:
                yield from (("object_not_absent", area) for area in areas if area > 0)

    def _ill_sized(self, areas: Sequence[float], visible: float, least: float) -> Iterator[Fault]:
        """Objects that are hidden, or that cover too little or too much of an image."""
        if 0 <= visible < least:
            yield "hidden", visible
        for area in areas:
            if not self.min_area <= area:
                yield "too_small", area
            if area > self.max_area:
                yield "too_large", area


def _false_caption(sample: Sample, case: Case) -> Clause | None:
    """A caption that says a color that its image does not show."""
    told = sample["instruction"]
    captions: tuple[tuple[str, StateName], ...] = (("caption", "target"), ("source_caption", "source"))
    found = (caption_clause(case, str(told.get(column, "")), state) for column, state in captions)
    return next((clause for clause in found if clause), None)


def _scores(facts: PairFacts, images: Images) -> Scores:
    """Measured again where pixels tell, taken from the maker where they do not."""
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


def _incoherent(facts: PairFacts, images: Images) -> Iterator[Fault]:
    """Facts and pixels that contradict one another: a fault of the maker, whatever the thresholds."""
    known = {thing.id for thing in facts.objects}
    strangers = set(images.ids) - known
    if strangers:
        yield "unknown_label", float(min(strangers))
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
    for id in facts.edit.edited:
        before, after = images.masks(id)
        missed = float((before | after)[~images.changed].sum())
        if missed:
            yield "changed_misses_object", missed


def edit_error(facts: PairFacts) -> float:
    """How far the edit's numbers are from the poses of the edited objects, in tolerances: above 1 they disagree.

    Infinite where the facts lack an edited object, or where an edit of this kind has more objects.
    """
    kind, edit = kind_of(facts.edit.kind), facts.edit
    edited = [one for one in facts.objects if one.id in edit.edited]
    if len(edited) != kind.objects:
        return float("inf")
    return max((kind.edit_error(edit, one) for one in edited if edit.known and one.known), default=0.0)
