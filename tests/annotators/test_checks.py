import dataclasses
import functools
import json

import cv2
import numpy as np
import pytest

from spatialdata_builder.annotators.case import Case
from spatialdata_builder.annotators.checks import GeometryChecks, edit_error
from spatialdata_builder.annotators.claims import Claims
from spatialdata_builder.annotators.measure import Images, carried_error, hull_fill, outline_change, speckle
from spatialdata_builder.annotators.templates import instructions
from spatialdata_builder.shards import codecs
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.geometry import box_of_mask, matrix4, similarity, to_json_list
from spatialdata_builder.shards.sample import Reject, Result, Row
from spatialdata_builder.shards.schema import (
    EDIT_KINDS,
    FLOOR,
    EditKind,
    Instruction,
    Measures,
    PairFacts,
    SceneObject,
    Scores,
    SupportKind,
    SupportRef,
)
from spatialdata_builder.shards.stage import Stage
from tests.annotators.factory import SIDE, random_facts
from tests.annotators.pictures import draw, sample


def check(
    facts: PairFacts, members: dict[str, bytes], row: dict[str, str] | None = None, **options: float | str
) -> Result:
    stage = GeometryChecks(**options)
    drawn = sample(facts, members)
    row = row or {"instruction": instruction_of(facts).model_dump_json()}
    drawn = dataclasses.replace(drawn, layers={**drawn.layers, "instruction": row})
    return stage(stage.setup(), [drawn])[0]


def instruction_of(facts: PairFacts) -> Instruction:
    """The templates' instruction; a meaningless text if they have none."""
    found = instructions(Case(facts, SIDE, SIDE), 4, np.random.default_rng(0))
    texts = ["Do it.", "Do it now."] if isinstance(found, str) else found
    return Instruction(text=texts[0], variants=texts[1:], method="template", model="", verified=True)


@functools.cache
def accepted(kind: EditKind) -> tuple[PairFacts, dict[str, bytes]]:
    """The first drawn pair of a kind that the checks accept."""
    for seed in range(200):
        facts, members = draw(random_facts(seed, kind))
        if isinstance(check(facts, members), Row):
            return facts, members
    raise AssertionError(f"no accepted pair of kind {kind}")


def reason(result: Result) -> str:
    assert isinstance(result, Reject), result
    Scores.model_validate_json(result.detail)
    return result.reason


def test_is_a_stage():
    assert isinstance(GeometryChecks(), Stage)


@pytest.mark.parametrize("kind", EDIT_KINDS)
def test_good_pairs_pass_with_measured_scores(kind):
    facts, members = accepted(kind)
    result = check(facts, members)
    assert isinstance(result, Row) and result.columns["accepted"] is True and result.columns["reason"] == ""
    scores = Scores.model_validate(json.loads(str(result.columns["scores"])))
    before, after = (codecs.decode_labels(members[name]) == 1 for name in ("source_instances", "target_instances"))
    assert scores.changed_fraction == pytest.approx(codecs.decode_mask(members["changed"]).mean(), abs=1e-6)
    if kind in ("remove", "insert", "camera"):
        assert scores.displacement_px == -1
    else:
        middle = [cv2.moments(mask.astype(np.uint8)) for mask in (before, after)]
        centers = [np.array([m["m10"], m["m01"]]) / m["m00"] for m in middle]
        assert scores.displacement_px == pytest.approx(np.linalg.norm(centers[1] - centers[0]), abs=1e-2)
    assert scores.visible_source == scores.box_iou == -1
    assert scores.instruction_check == 1 and result.columns["instruction"] == ""
    assert json.loads(str(result.columns["instruction_verdict"]))["verdict"] == "agrees"


@pytest.mark.slow
def test_most_random_pairs_are_coherent():
    """Whether or not the thresholds reject these pairs, their facts and pixels do not contradict each other."""
    contradictions = {"unknown_label", "box_is_not_the_masks", "pose_disagrees", "edit_disagrees"}
    contradictions |= {"differs_outside_changed", "changed_misses_object", "object_not_absent", "size_mismatch"}
    for seed in range(40):
        facts, members = draw(random_facts(seed))
        result = check(facts, members)
        assert not (isinstance(result, Reject) and result.reason in contradictions), result


@pytest.mark.parametrize(
    ("measures", "expected"),
    [
        ({"visible_source": 0.2}, "hidden"),
        ({"visible_target": 0.1}, "hidden"),
        ({"box_iou": 0.5}, "box_disagrees"),
        ({"mask_iou": 0.4}, "mask_disagrees"),
        ({"psnr_unchanged": 30.0}, "background_moved"),
    ],
)
def test_the_renderers_measures_are_judged(measures, expected):
    facts, members = accepted("scale")
    judged = facts.model_copy(update={"measures": Measures(**measures)})
    result = check(judged, members)
    assert reason(result) == expected and result.score == next(iter(measures.values()))


def test_pixels_that_differ_outside_changed():
    facts, members = accepted("translate")
    target = codecs.decode_image(members["target"])
    y, x = np.argwhere(~codecs.decode_mask(members["changed"]))[50]
    target[y, x, 1] ^= 1
    result = check(facts, members | {"target": codecs.encode_image(target)})
    assert reason(result) == "differs_outside_changed" and result.score == 1


def test_changed_must_cover_the_object():
    facts, members = accepted("remove")
    changed = codecs.decode_mask(members["changed"])
    source, target = codecs.decode_image(members["source"]), codecs.decode_image(members["target"])
    y, x = np.argwhere(codecs.decode_labels(members["source_instances"]) == 1)[0]
    changed[y, x], target[y, x] = False, source[y, x]
    members = members | {"changed": codecs.encode_mask(changed), "target": codecs.encode_image(target)}
    assert reason(check(facts, members)) == "changed_misses_object"


def test_boxes_poses_and_edits_that_disagree_with_the_pixels():
    facts, members = accepted("translate")
    first = facts.objects[0]
    shifted = first.model_copy(update={"target_box": [v + 1 for v in first.target_box]})
    assert reason(check(_with(facts, shifted), members)) == "box_is_not_the_masks"
    pose = list(first.target_pose)
    pose[3] += 0.7
    assert reason(check(_with(facts, first.model_copy(update={"target_pose": pose})), members)) == "pose_disagrees"
    edit = facts.edit.model_copy(update={"translation": [v + 0.01 for v in facts.edit.translation]})
    assert reason(check(facts.model_copy(update={"edit": edit}), members)) == "edit_disagrees"
    rotated = facts.edit.model_copy(update={"rotation_deg": 30.0})
    assert reason(check(facts.model_copy(update={"edit": rotated}), members)) == "edit_disagrees"
    only = facts.model_copy(update={"objects": facts.objects[:1]})
    assert reason(check(only, members)) == "unknown_label"


@pytest.mark.parametrize(("share", "agrees"), [(0.0, True), (0.45, True), (0.8, False), (-3.0, False)])
def test_a_rotation_fixes_a_point_of_the_base(share: float, agrees: bool):
    """Rotated about a point at `share` of the box's width from its center: the two poses need not share their
    origin."""
    facts, _ = rotated()
    thing = facts.objects[0]
    before, after = matrix4(thing.source_pose), matrix4(thing.target_pose)
    pivot = np.array([share * thing.size_m[0], 0.0, 0.0])
    after[:3, 3] = before[:3, 3] + before[:3, :3] @ pivot - after[:3, :3] @ pivot
    error = edit_error(_with(facts, thing.model_copy(update={"target_pose": to_json_list(after)})))
    assert (error <= 1) == agrees, error
    after[2, 3] += 0.01
    assert edit_error(_with(facts, thing.model_copy(update={"target_pose": to_json_list(after)}))) > 1


def test_edits_that_cannot_be_seen():
    for kind, expected in (
        ("translate", "moved_too_little"),
        ("rotate", "turned_too_little"),
        ("camera", "camera_too_still"),
    ):
        facts, members = accepted(kind)
        same = {"target": members["source"], "target_instances": members["source_instances"]}
        objects = [
            thing.model_copy(update={"target_pose": thing.source_pose, "target_box": thing.source_box})
            for thing in facts.objects
        ]
        edit = facts.edit.model_copy(update={"translation": [0.0] * 3, "rotation_deg": 0.0})
        camera = facts.camera.model_copy(update={"target": facts.camera.source})
        still = facts.model_copy(update={"objects": objects, "edit": edit, "camera": camera})
        assert reason(check(still, members | same)) == expected


@pytest.mark.parametrize(("share", "passes"), [(0.0, False), (0.03, False), (0.25, True)])
def test_a_rotation_must_change_more_than_grain(share, passes):
    """Every pixel of the object differs, but only a share of it looks different, as when a stool's legs trade
    places."""
    facts, members = accepted("rotate")
    mask = codecs.decode_labels(members["source_instances"]) == facts.edit.object
    checkered = np.indices(mask.shape).sum(axis=0) % 2 * 40
    images = []
    for grain in (checkered, 40 - checkered):
        image = codecs.decode_image(members["source"])
        image[mask] = 100 + grain[mask][:, None]
        images.append(image)
    inner = np.flatnonzero(mask)[: int(share * mask.sum())]
    images[1].reshape(-1, 3)[inner] = 30
    objects = [
        thing.model_copy(update={"target_pose": thing.source_pose, "target_box": thing.source_box})
        for thing in facts.objects
    ]
    edit = facts.edit.model_copy(update={"rotation_deg": 0.0})
    seen = dict(zip(("source", "target"), map(codecs.encode_image, images), strict=True))
    same = {"target_instances": members["source_instances"]}
    result = check(facts.model_copy(update={"objects": objects, "edit": edit}), members | seen | same)
    assert isinstance(result, Row) if passes else reason(result) == "turned_too_little"


def drawn_object(shape: str, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """An object seen from slightly above, rotated about the vertical axis: picture (96, 96, 3) and mask, projected."""
    image, mask = np.full((96, 96, 3), 170, np.uint8), np.zeros((96, 96), np.uint8)

    def at(x: float, y: float, z: float) -> tuple[int, int]:
        a = np.radians(degrees)
        u, v = x * np.cos(a) - y * np.sin(a), x * np.sin(a) + y * np.cos(a)
        return round(48 + 30 * u), round(70 + 12 * v - 27 * z)

    def paint(points: list[tuple[int, int]], color: tuple[int, int, int]) -> None:
        for canvas, value in ((image, color), (mask, 1)):
            cv2.fillConvexPoly(canvas, cv2.convexHull(np.array(points, np.int32)), value)

    around = [(0.6 * np.cos(a), 0.6 * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 48, endpoint=False)]
    if shape in ("stool", "round table"):
        legs, height = (0.45, 1.4) if shape == "stool" else (0.55, 1.0)
        for x, y in ((legs, legs), (legs, -legs), (-legs, legs), (-legs, -legs)):
            a, b = at(0.8 * x, 0.8 * y, 0.0), at(0.8 * x, 0.8 * y, height)
            paint([a, b, (a[0] + 2, a[1]), (b[0] + 2, b[1])], (110, 60, 30))
        paint([at(x, y, height) for x, y in around], (150, 90, 50))
        paint([at(x, y, height + 0.1) for x, y in around], (170, 100, 60))
    if shape == "bottle":
        paint([at(0.4 * x, 0.4 * y, z) for x, y in around for z in (0.0, 1.6)], (30, 90, 50))
    if shape == "cabinet":
        sides = ((0.6, -0.4), (0.6, 0.4), (-0.6, 0.4), (-0.6, -0.4))
        colors = ((120, 70, 40), (200, 180, 150), (120, 70, 40), (60, 60, 70))
        for number in np.argsort([at(*np.add(sides[k], sides[k - 1]) / 2, 0.0)[1] for k in range(4)]):
            a, b = sides[number], sides[number - 1]
            paint([at(*a, 0.0), at(*b, 0.0), at(*a, 1.5), at(*b, 1.5)], colors[number])
        paint([at(*side, 1.5) for side in sides], (150, 100, 60))
    return image, mask


@pytest.mark.parametrize(
    ("shape", "degrees", "shows"),
    [
        ("stool", 60, False),
        ("stool", 45, False),
        ("round table", 90, False),
        ("round table", 45, False),
        ("bottle", 120, False),
        ("cabinet", 45, True),
        ("cabinet", 90, True),
        ("cabinet", 180, True),
    ],
)
def test_rotations_that_a_person_sees(shape: str, degrees: float, shows: bool):
    (source, before), (target, after) = drawn_object(shape, 20), drawn_object(shape, 20 + degrees)
    images = Images(source, target, before, after, np.ones(before.shape, np.bool_))
    seen = images.appearance_change(1) >= 0.06 or outline_change(before == 1, after == 1) >= 1.15
    assert seen == shows, (images.appearance_change(1), outline_change(before == 1, after == 1))
    assert images.appearance_change(2) == 0


@pytest.mark.parametrize(("visible", "cut", "passes"), [(1.0, 0, True), (0.15, 0, False), (1.0, 24, False)])
def test_no_object_is_cut_to_a_sliver(visible: float, cut: int, passes: bool):
    """Any object, hidden or cut by the frame: here, the mask of an object that is not edited keeps two columns."""
    facts, members = accepted("rotate")
    other = next(thing for thing in facts.objects if thing.id != facts.edit.object and any(thing.source_box))
    changes: dict[str, object] = {"source_visible": visible, "target_visible": visible}
    if cut:
        for state in ("source", "target"):
            labels = codecs.decode_labels(members[f"{state}_instances"])
            labels[(labels == other.id) & (np.arange(SIDE) > np.flatnonzero((labels == other.id).any(axis=0))[1])] = 0
            members = members | {f"{state}_instances": codecs.encode_labels(labels)}
            changes[f"{state}_box"] = box_of_mask(labels == other.id)
    objects = [thing.model_copy(update=changes) if thing.id == other.id else thing for thing in facts.objects]
    result = check(facts.model_copy(update={"objects": objects}), members)
    assert isinstance(result, Row) if passes else reason(result) == "sliver"


@pytest.mark.parametrize(("kind", "passes"), [("inside", True), ("top", False)])
def test_what_is_in_a_container_may_be_hidden(kind: SupportKind, passes: bool):
    facts, members = accepted("rotate")
    other = next(thing for thing in facts.objects if thing.id != facts.edit.object and any(thing.source_box))
    third = next(thing for thing in facts.objects if thing.id not in (facts.edit.object, other.id))
    holder = SupportRef(object=third.id, kind=kind, shelf=0, shelves=0)
    hidden = {"source_visible": 0.15, "target_visible": 0.15, "source_support": holder, "target_support": holder}
    objects = [thing.model_copy(update=hidden) if thing.id == other.id else thing for thing in facts.objects]
    result = check(facts.model_copy(update={"objects": objects}), members)
    assert isinstance(result, Row) if passes else reason(result) == "sliver"


def test_a_removed_object_must_be_gone():
    facts, members = accepted("remove")
    ghost = {name.replace("source", "target"): members[name] for name in ("source", "source_instances")}
    objects = [thing.model_copy(update={"target_box": thing.source_box}) for thing in facts.objects]
    assert reason(check(facts.model_copy(update={"objects": objects}), members | ghost)) == "object_not_absent"


def test_areas():
    facts, members = accepted("insert")
    assert reason(check(facts, members, min_area=0.5)) == "too_small"
    assert reason(check(facts, members, max_area=0.0)) == "too_large"
    assert reason(check(facts, members, max_changed=0.0)) == "changes_everything"


def test_members_of_different_sizes():
    facts, members = accepted("scale")
    small = codecs.encode_mask(np.ones((8, 8), np.bool_))
    result = check(facts, members | {"changed": small})
    assert isinstance(result, Reject) and result.reason == "size_mismatch" and "changed is (8, 8)" in result.detail


@pytest.mark.slow
def test_an_object_may_be_hidden_if_the_edit_asks_for_it():
    inside = 0
    for seed in range(50):
        facts, members = draw(random_facts(seed, "translate"))
        hidden = facts.model_copy(update={"measures": Measures(visible_source=1.0, visible_target=0.2)})
        if facts.objects[0].target_pose[11] > 0 and isinstance(check(facts, members), Row):
            # Drawn boxes are solid: an object in one is drawn over it or hidden. Only the facts say that it is inside.
            assert isinstance(check(hidden, members), Row)
            inside += 1
        if facts.edit.translation[2] == 0 and isinstance(check(facts, members), Row):
            beside = isinstance(check(hidden, members, min_visible_behind=0.35), Row)
            assert not beside
    assert inside >= 1


def row_of(text: str, *variants: str, **claims: object) -> dict[str, str]:
    """The row of layer `instruction`, with claims if any are given."""
    instruction = Instruction(text=text, variants=list(variants) or ["Do it."], method="vlm", model="m", verified=False)
    form = {"claims": Claims.model_validate(claims).model_dump_json()} if claims else {}
    return {"instruction": instruction.model_dump_json(), **form}


def wrong_direction(facts: PairFacts) -> str:
    """An instruction for the right object, rotated in the wrong direction."""
    sense = "clockwise" if facts.edit.rotation_deg > 0 else "counter-clockwise"
    return f"Rotate the {facts.objects[0].name} {sense} by {abs(facts.edit.rotation_deg):g} degrees, seen from above."


@functools.cache
def rotated() -> tuple[PairFacts, dict[str, bytes]]:
    """A pair with a rotation whose direction is unambiguous."""
    for seed in range(200):
        facts, members = draw(random_facts(seed, "rotate"))
        if abs(facts.edit.rotation_deg) < 170 and isinstance(check(facts, members), Row):
            return facts, members
    raise AssertionError("no accepted rotation")


def test_a_contradicted_instruction_is_a_reject_with_the_failing_clause():
    facts, members = rotated()
    result = check(facts, members, row_of(wrong_direction(facts)))
    assert isinstance(result, Reject) and result.reason == "instruction_contradicted"
    assert result.detail.startswith("turn: says ") and "is " in result.detail
    assert 0 < result.score < 1 and result.scores["instruction_check"] == result.score
    assert Scores.model_validate(dict(result.scores)).changed_fraction > 0


def test_contradicted_claims_count_as_much_as_the_text():
    facts, members = rotated()
    true = instruction_of(facts).text
    wrong = "clockwise" if facts.edit.rotation_deg > 0 else "counterclockwise"
    result = check(facts, members, row_of(true, edit="rotate", object=facts.objects[0].name, turn=wrong))
    assert isinstance(result, Reject) and result.reason == "instruction_contradicted"
    right = "counterclockwise" if facts.edit.rotation_deg > 0 else "clockwise"
    # If the parser cannot read a text, only its writer states that it means what is claimed.
    claims = {"edit": "rotate", "object": facts.objects[0].name, "turn": right}
    aside = f"Rotate the {facts.objects[0].name} {right}, as if by magic."
    for text, form, verdict in (
        ("Whirl it about, as it were.", claims, "unchecked"),
        (aside, {}, "unchecked"),
        (aside, claims, "agrees"),
    ):
        result = check(facts, members, row_of(text, **form))
        assert isinstance(result, Row)
        assert json.loads(str(result.columns["instruction_verdict"]))["verdict"] == verdict, text


def test_a_contradicted_instruction_is_rewritten_on_request():
    facts, members = rotated()
    result = check(facts, members, row_of(wrong_direction(facts)), on_contradiction="rewrite")
    assert isinstance(result, Row)
    rewritten = Instruction.model_validate_json(str(result.columns["instruction"]))
    possible = instructions(Case(facts, SIDE, SIDE), 50, np.random.default_rng(0))
    assert rewritten.method == "template" and rewritten.text in possible and rewritten.variants
    verdict = json.loads(str(result.columns["instruction_verdict"]))
    assert verdict["verdict"] == "agrees" and verdict["replaced"].startswith("turn: says ")


def test_a_contradicted_instruction_is_kept_unverified_on_request():
    facts, members = rotated()
    result = check(facts, members, row_of(wrong_direction(facts), wrong_direction(facts)), on_contradiction="keep")
    assert isinstance(result, Row) and result.columns["instruction"] == ""
    assert json.loads(str(result.columns["instruction_verdict"]))["verdict"] == "contradicted"


def test_contradicted_variants_are_dropped():
    facts, members = rotated()
    good = instruction_of(facts)
    result = check(facts, members, row_of(good.text, wrong_direction(facts), good.variants[0], "Something else."))
    assert isinstance(result, Row)
    kept = Instruction.model_validate_json(str(result.columns["instruction"]))
    assert kept.text == good.text and kept.variants == [good.variants[0], "Something else."] and kept.method == "vlm"
    assert len(json.loads(str(result.columns["instruction_verdict"]))["dropped"]) == 1
    result = check(facts, members, row_of(good.text, wrong_direction(facts)))
    assert isinstance(result, Row)
    assert Instruction.model_validate_json(str(result.columns["instruction"])).variants == [good.text]


def test_an_unreadable_instruction_is_neither_rejected_nor_verified():
    facts, members = rotated()
    result = check(facts, members, row_of("Do something nice."))
    assert isinstance(result, Row)
    verdict = json.loads(str(result.columns["instruction_verdict"]))
    assert verdict["verdict"] == "unchecked" and verdict["score"] == -1


def test_tolerances():
    facts, members = rotated()
    near = abs(facts.edit.rotation_deg) + 20
    text = row_of(f"Rotate the {facts.objects[0].name} by {near:g} degrees.")
    assert isinstance(check(facts, members, text), Reject)
    assert isinstance(check(facts, members, text, angle_tolerance=20.0), Row)
    with pytest.raises(BadInput, match=r"layers\.checks\.angle_tolerance is 0"):
        GeometryChecks(angle_tolerance=0.0)


def _with(facts: PairFacts, first) -> PairFacts:
    return facts.model_copy(update={"objects": [first, *facts.objects[1:]]})


def _scaled(image: bytes, factor: float) -> bytes:
    return codecs.encode_image(np.clip(codecs.decode_image(image) * factor, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("share", [0.25, 0.5, 0.66, 0.7, 0.75])
def test_a_mask_of_scattered_pixels_is_rejected(share: float):
    """What a stochastic pass leaves of a translucent object: random pixels, in the same box."""
    facts, members = accepted("translate")
    labels = codecs.decode_labels(members["source_instances"]).copy()
    areas = np.bincount(labels.ravel())
    areas[[0, facts.edit.object]] = 0
    rows, columns = np.nonzero(labels == np.argmax(areas))
    lost = np.random.default_rng(1).random(len(rows)) > share
    for edge in (rows == rows.min(), rows == rows.max(), columns == columns.min(), columns == columns.max()):
        lost &= ~edge
    labels[rows[lost], columns[lost]] = 0
    broken = {**members, "source_instances": codecs.encode_labels(labels)}
    assert reason(check(facts, broken)) == "mask_broken_up"
    assert isinstance(check(facts, broken, max_speckle=2.0), Row)


def test_thin_and_leafy_masks_pass():
    chair, leaves = np.zeros((80, 80), bool), np.zeros((80, 80), bool)
    chair[10:40, 20:22] = chair[40:42, 20:50] = chair[42:70, 20:21] = chair[42:70, 49:50] = True
    for turn in range(40):
        center = (40 + 30 * np.cos(turn * 2.4) * (turn / 40) ** 0.5, 40 + 30 * np.sin(turn * 2.4) * (turn / 40) ** 0.5)
        rows, columns = np.mgrid[:80, :80]
        leaves |= ((rows - center[0]) / 3) ** 2 + ((columns - center[1]) / 1.5) ** 2 < 1
    assert speckle(chair) < 0.1 and speckle(leaves) < 0.3
    assert speckle(np.indices((80, 80)).sum(0) % 2 == 0) == pytest.approx(2, abs=0.05)
    assert speckle(np.zeros((8, 8), bool)) == 0 and hull_fill(np.zeros((8, 8), bool)) == 1
    assert hull_fill(chair) < 0.3 and hull_fill(np.ones((8, 8), bool)) == 1


def with_rider(shift: float) -> PairFacts:
    """A translation whose edited object carries the next object along, by `shift` of the way."""
    for seed in range(200):
        facts = random_facts(seed, "translate")
        edited = facts.edit.object
        rider = next(thing for thing in facts.objects if thing.id != edited)
        moved = matrix4(rider.source_pose)
        moved[:3, 3] += shift * np.array(facts.edit.translation)
        objects: list[SceneObject] = []
        for thing in facts.objects:
            on = SupportRef(object=edited, kind="top", shelf=0, shelves=0) if thing.id == rider.id else FLOOR
            pose = {"target_pose": to_json_list(moved)} if thing.id == rider.id else {}
            objects.append(thing.model_copy(update={"source_support": on, "target_support": on, **pose}))
        found = facts.model_copy(update={"objects": objects})
        if isinstance(check(*draw(found)), Row) or shift != 1:
            return found
    raise AssertionError("no accepted pair")


def test_what_stands_on_a_moved_object_must_move_along():
    assert edit_error(with_rider(1.0)) < 0.1
    assert edit_error(with_rider(0.0)) > 100
    assert edit_error(with_rider(0.99)) > 1
    facts = with_rider(1.0)
    edited = next(thing for thing in facts.objects if thing.id == facts.edit.object)
    rider = next(thing for thing in facts.objects if thing.source_support.object == edited.id)
    turned = matrix4(rider.target_pose) @ similarity(0, 0, 0, 1.0)
    spoiled = rider.model_copy(update={"target_pose": to_json_list(turned)})
    assert carried_error(spoiled, edited) > 10


def test_changed_covers_what_moves_along():
    facts, members = draw(with_rider(1.0))
    rider = next(thing for thing in facts.objects if thing.source_support.object == facts.edit.object)
    images = Images.decode(members)
    spared = images.changed & ~np.logical_or(*images.masks(rider.id))
    # The images are made equal there, so that nothing but the rider's mask tells.
    source = np.where(spared[..., None], images.source, images.target)
    without = {**members, "source": codecs.encode_image(source), "changed": codecs.encode_mask(spared)}
    assert reason(check(facts, without)) == "changed_misses_object"


@pytest.mark.parametrize("rise", [0.0015, 0.01])
def test_an_uneven_surface_may_lift_a_turned_object_a_little(rise: float):
    facts, _ = accepted("rotate")
    objects: list[SceneObject] = []
    for thing in facts.objects:
        on = SupportRef(object=99, kind="soft", shelf=0, shelves=0)
        pose = matrix4(thing.target_pose)
        pose[2, 3] += rise if thing.id == facts.edit.object else 0.0
        update = {"source_support": on, "target_support": on, "target_pose": to_json_list(pose)}
        objects.append(thing.model_copy(update=update))
    assert (edit_error(facts.model_copy(update={"objects": objects})) < 1) == (rise < 0.002)
