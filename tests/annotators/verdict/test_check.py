import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from spatialdata_builder.annotators.case import Case
from spatialdata_builder.annotators.claims import CANONICAL_VIEWS, Claims
from spatialdata_builder.annotators.clauses.clause import Tolerances
from spatialdata_builder.annotators.clauses.fronts import known_fronts
from spatialdata_builder.annotators.templates import instructions
from spatialdata_builder.annotators.verdict.check import Verdict, check, check_text
from spatialdata_builder.shards.geometry import look_at, matrix4, similarity, to_json_list, wrap_degrees
from spatialdata_builder.shards.interop.wording import bench_wording
from spatialdata_builder.shards.schema import UNKNOWN_FRONT, PairFacts
from tests.annotators.factory import SIDE, random_facts, without_poses
from tests.annotators.planted import planted, reworded
from tests.annotators.scenes import SIDE as SCENE_SIDE
from tests.annotators.scenes import scenes


def case_of(facts: PairFacts) -> Case:
    return Case(facts, SIDE, SIDE)


def true_of(case: Case, variants: int = 9) -> list[str]:
    found = instructions(case, variants, np.random.default_rng(1))
    return [] if isinstance(found, str) else found


def outcome(verdict: Verdict, name: str) -> str:
    return next(clause.outcome for clause in verdict.clauses if clause.name == name)


@pytest.mark.slow
def test_templates_agree_clause_by_clause():
    """Templates respect the margins of relations, so every clause agrees. Other words must not contradict anything."""
    seen = 0
    cases = [Case(facts, SCENE_SIDE, SCENE_SIDE) for facts, _ in scenes(66)]
    cases += [case_of(random_facts(seed)) for seed in range(66)]
    cases += [
        case_of(without_poses(random_facts(seed, kind))) for seed in range(22) for kind in ("translate", "rotate")
    ]
    for case in cases:
        for text in true_of(case):
            verdict = check_text(text, case)
            assert verdict.outcome == "agrees" and verdict.score == 1 and verdict.failing == "", (text, verdict)
            seen += 1
            for other in reworded(text):
                assert check_text(other, case).outcome != "contradicted", other
    assert seen > 1500


@pytest.mark.slow
@pytest.mark.parametrize("name", ["camera", "picture", "scale", "stand", "trash can", "left shoe", "plant"])
def test_true_sentences_about_objects_with_ambiguous_names_are_not_contradicted(name: str):
    seen: Counter[str] = Counter()
    for facts, _ in scenes(30):
        edited = facts.edit.object or facts.objects[0].id
        things = [
            thing.model_copy(update={"name": name, "category": name}) if thing.id == edited else thing
            for thing in facts.objects
        ]
        case = Case(facts.model_copy(update={"objects": things}), SCENE_SIDE, SCENE_SIDE)
        texts = instructions(case, 3, np.random.default_rng(0))
        seen.update(check_text(text, case).outcome for text in texts if not isinstance(texts, str))
    assert seen["agrees"] > 40 and not seen["contradicted"], seen


@pytest.mark.slow
def test_planted_errors_are_found():
    found: dict[str, Counter[str]] = {}
    for facts, _ in scenes(90):
        case = Case(facts, SCENE_SIDE, SCENE_SIDE)
        for text in true_of(case, 6):
            for kind, false in planted(facts, text):
                verdict = check_text(false, case)
                found.setdefault(kind, Counter())[verdict.outcome] += 1
                assert (verdict.failing != "") == (verdict.outcome == "contradicted")
    assert len(found) >= 12
    for kind, outcomes in found.items():
        assert outcomes["contradicted"] >= 0.9 * outcomes.total(), (kind, outcomes)
        assert outcomes["agrees"] == 0, (kind, outcomes)


def facing(case: Case, fronts: dict[int, float]) -> Case:
    """The same pair, with known fronts."""
    all_fronts = [fronts.get(thing.id, UNKNOWN_FRONT) for thing in case.facts.objects]
    return replace(case, facts=case.facts.model_copy(update={"fronts": all_fronts}))


def stage(front: float = 0.0) -> PairFacts:
    """A chair at the origin, turned by 90 degrees, and a mug that moves from its left to its right, for the viewer.

    The camera is at -y and looks along +y: the image's right is +x, away is +y.
    """
    facts = random_facts(0, "translate")
    chair, mug = (facts.objects[1], facts.objects[0])
    size = {"size_m": [0.2, 0.2, 0.2]}
    still = to_json_list(similarity(0, 0, 0, 90))
    chair = chair.model_copy(
        update=size
        | {"name": "chair", "category": "chair", "source_pose": still, "target_pose": still}
        | {"source_box": [56, 50, 72, 70], "target_box": [56, 50, 72, 70], "source_visible": 1.0, "target_visible": 1.0}
    )
    mug = mug.model_copy(
        update=size
        | {"name": "red mug", "category": "mug", "source_visible": 1.0, "target_visible": 1.0}
        | {
            "source_pose": to_json_list(similarity(-0.8, 0, 0, 0)),
            "target_pose": to_json_list(similarity(0.8, 0, 0, 0)),
        }
        | {"source_box": [10, 50, 26, 70], "target_box": [102, 50, 118, 70]}
    )
    view = facts.camera.source.model_copy(
        update={"world_from_camera": to_json_list(look_at([0, -4, 1.5], [0, 0, 0.1]))}
    )
    return facts.model_copy(
        update={
            "objects": [mug, chair],
            "colours": ["red", "blue"],
            "camera": facts.camera.model_copy(update={"source": view, "target": view}),
            "edit": facts.edit.model_copy(update={"translation": [1.6, 0.0, 0.0], "box": mug.target_box}),
        }
    )


def says(**claims: object) -> Claims:
    return Claims.model_validate({"edit": "translate", "object": "the mug", **claims})


@pytest.mark.parametrize(
    ("relation", "expected"),
    [("right", "agrees"), ("left", "contradicted"), ("front", "contradicted"), ("behind", "contradicted")],
)
def test_relations_in_the_viewers_frame(relation, expected):
    verdict = check(says(relation=relation, references=["the chair"]), case_of(stage()))
    assert verdict.outcome == expected
    if expected == "contradicted":
        assert verdict.failing.startswith("relation: says ") and "is right of it" in verdict.failing


# The chair's own +x points away from the camera (yaw 90). If its front is there, the mug at the world's +x is on its
# right.
@pytest.mark.parametrize(("front", "side"), [(0.0, "right"), (180.0, "left"), (270.0, "front"), (90.0, "behind")])
def test_relations_in_the_reference_objects_own_frame(front, side):
    case = case_of(stage())
    for relation in ("left", "right", "front", "behind"):
        claims = says(relation=relation, references=["the chair"], frame="object")
        assert check(claims, case).outcome == "unchecked"  # its front is not known
        expected = "agrees" if relation == side else "contradicted"
        assert check(claims, facing(case, {2: front})).outcome == expected, relation


@pytest.mark.parametrize(
    ("directions", "expected"),
    [
        (["right"], "agrees"),
        (["left"], "contradicted"),
        (["away"], "contradicted"),
        (["towards"], "contradicted"),
        (["right", "away"], "agrees"),
        (["left", "towards"], "contradicted"),
    ],
)
def test_directions(directions, expected):
    assert check(says(directions=directions), case_of(stage())).outcome == expected


def test_a_similar_noun_as_reference_contradicts_nothing():
    case = case_of(stage())
    assert check(says(relation="right", references=["the armchair"]), case).outcome == "agrees"
    assert check(says(relation="left", references=["the armchair"]), case).outcome == "unchecked"
    assert check(says(relation="left", references=["the zeppelin"]), case).outcome == "unchecked"


def test_directions_in_the_objects_own_frame():
    case = case_of(stage())  # the mug moves along its own +x
    for front, way in ((90.0, "right"), (270.0, "left")):
        other = "left" if way == "right" else "right"
        assert check(says(directions=[way], frame="object"), facing(case, {1: front})).outcome == "agrees"
        assert check(says(directions=[other], frame="object"), facing(case, {1: front})).outcome == "contradicted"
    assert check(says(directions=["left"], frame="object"), case).outcome == "unchecked"


@pytest.mark.parametrize(
    ("metres", "expected"), [(1.6, "agrees"), (1.4, "agrees"), (1.25, "unchecked"), (0.8, "contradicted")]
)
def test_lengths(metres, expected):
    assert check(says(metres=metres), case_of(stage())).outcome == expected
    loose = Tolerances(length=0.6)
    assert check(says(metres=metres), case_of(stage()), tolerances=loose).outcome == "agrees"


def test_lengths_in_own_widths():
    for widths, expected in ((8, "agrees"), (6, "agrees"), (4, "unchecked"), (2, "contradicted"), (20, "contradicted")):
        assert check(says(widths=widths), case_of(stage())).outcome == expected, widths


@pytest.mark.parametrize(
    ("part", "expected"),
    [("right", "agrees"), ("left", "contradicted"), ("centre", "contradicted"), ("upper right", "unchecked")],
)
def test_parts_of_the_image(part, expected):
    assert check(says(part=part), case_of(stage())).outcome == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("the mug", "agrees"),
        ("red mug", "agrees"),
        ("the crimson cup", "agrees"),
        ("the blue mug", "contradicted"),
        ("the chair", "contradicted"),
        ("the zeppelin", "unchecked"),
        ("the object", "unchecked"),
    ],
)
def test_which_object_is_meant(name, expected):
    assert outcome(check(says(object=name), case_of(stage())), "object") == expected


def test_a_name_that_matches_two_objects():
    facts = stage()
    twin = facts.objects[1].model_copy(update={"name": "blue mug", "category": "mug"})
    two = case_of(facts.model_copy(update={"objects": [facts.objects[0], twin]}))
    assert outcome(check(says(object="the mug"), two), "object") == "contradicted"
    assert outcome(check(says(object="the mug that is chipped"), two), "object") == "unchecked"
    assert outcome(check(says(object="the red mug"), two), "object") == "agrees"
    assert outcome(check(says(object="the chipped mug"), two), "object") == "unchecked"
    assert outcome(check(says(object="the left mug"), two), "object") == "agrees"
    assert outcome(check(says(object="the mug on the right"), two), "object") == "contradicted"


@pytest.mark.parametrize("actual", [-90.0, 90.0, 180.0, 45.0])
def test_turns(actual):
    facts = random_facts(1, "rotate")
    edit = facts.edit.model_copy(update={"rotation_deg": actual, "view": ""})
    case = case_of(facts.model_copy(update={"edit": edit}))
    for sense, sign in (("counterclockwise", 1), ("clockwise", -1)):
        for degrees in (45.0, 90.0, 180.0, 270.0):
            verdict = check(Claims(edit="rotate", turn=sense, degrees=degrees), case)
            off = abs(wrap_degrees(sign * degrees - actual))
            assert (verdict.outcome == "agrees") == (off < 1), (sense, degrees)
            assert verdict.outcome in ("agrees", "contradicted")
    verdict = check(Claims(edit="rotate", turn="clockwise"), case)
    assert verdict.outcome == ("agrees" if actual in (-90, 180) else "contradicted")


def test_views_from_the_facts_and_from_a_known_front():
    facts = next(f for seed in range(99) if (f := random_facts(seed, "rotate")).edit.view == "the rear left side view.")
    fronts = known_fronts(facts)
    blind = case_of(facts.model_copy(update={"edit": facts.edit.model_copy(update={"view": ""})}))
    for view in CANONICAL_VIEWS:
        claims = Claims(edit="rotate", view=view)
        expected = "agrees" if view == "rear left side" else "contradicted"
        assert outcome(check(claims, case_of(facts)), "view") == expected
        assert outcome(check(claims, blind), "view") == "unchecked"
        found = outcome(check(claims, facing(blind, fronts)), "view")
        near = view in ("rear", "left side")
        assert found == ("unchecked" if near else expected)


@pytest.mark.slow
def test_fronts_implied_by_the_facts_equal_those_of_the_assets():
    seen = 0
    for facts, fronts in scenes(150, kinds=("rotate",)):
        for id, front in known_fronts(facts).items():
            assert abs(wrap_degrees(front - fronts[id])) < 0.1
            seen += 1
    assert seen > 5


def test_camera():
    facts = random_facts(2, "camera")
    edit = facts.edit.model_copy(update={"yaw_deg": 45.0, "pitch_deg": 0.0, "zoom": 1.4})
    case = case_of(facts.model_copy(update={"edit": edit}))
    for claims, expected in (
        ({"yaw": "right", "yaw_deg": 45}, "agrees"),
        ({"yaw": "left"}, "contradicted"),
        ({"yaw_deg": 90}, "contradicted"),
        ({"yaw": "unchanged"}, "contradicted"),
        ({"pitch": "unchanged", "zoom": "in"}, "agrees"),
        ({"pitch": "up"}, "contradicted"),
        ({"zoom": "out"}, "contradicted"),
        ({"zoom_factor": 1.4}, "agrees"),
        ({"zoom_factor": 0.7}, "contradicted"),
    ):
        assert check(Claims.model_validate({"edit": "camera", **claims}), case).outcome == expected, claims


def test_sizes():
    facts = random_facts(2, "scale")
    case = case_of(facts.model_copy(update={"edit": facts.edit.model_copy(update={"scale": 1.5})}))
    for claims, expected in (
        ({"size": "larger"}, "agrees"),
        ({"size": "smaller"}, "contradicted"),
        ({"factor": 1.45}, "agrees"),
        ({"factor": 1.3}, "unchecked"),
        ({"factor": 2.5}, "contradicted"),
    ):
        assert check(Claims.model_validate({"edit": "scale", **claims}), case).outcome == expected, claims


def test_the_red_box_asks_for_moves_and_changes_of_size():
    for kind, expected in (("translate", "agrees"), ("scale", "agrees"), ("rotate", "contradicted")):
        facts = random_facts(4, kind)
        text = bench_wording(facts.edit.model_copy(update={"kind": "translate"}), facts.objects[0].name)
        assert check_text(text, case_of(facts)).outcome == expected, kind


def test_another_kind_of_edit_is_contradicted():
    verdict = check(Claims(edit="remove", object="the red mug"), case_of(stage()))
    assert verdict.outcome == "contradicted" and verdict.failing == "kind: says remove, is translate"
    assert verdict.score == 0.5 and json.loads(json.dumps(verdict.as_json()))["verdict"] == "contradicted"


def test_pairs_without_poses_are_checked_by_their_boxes():
    case = case_of(without_poses(stage()))
    for text, expected in (
        ("Move the red mug to the right of the chair.", "agrees"),
        ("Move the red mug to the left of the chair.", "contradicted"),
        ("Move the red mug to the right.", "agrees"),
        ("Move the red mug to the left.", "contradicted"),
        ("Move the red mug to the right side of the image.", "agrees"),
        ("Move the red mug behind the chair.", "unchecked"),
        ("Move the red mug towards the camera.", "unchecked"),
        ("Move the red mug 1.6 m to the right.", "unchecked"),
        ("Move the red mug into the chair.", "contradicted"),
    ):
        assert check_text(text, case).outcome == expected, text


def test_words_that_are_not_understood_are_unchecked():
    case = case_of(stage())
    assert check_text("Move the red mug to the right of the chair.", case).outcome == "agrees"
    assert check_text("Move the red mug to the right of the chair, across the abyss.", case).outcome == "unchecked"
    verdict = check_text("Sing me a song.", case)
    assert verdict.outcome == "unchecked" and verdict.score == -1


def moved(source: tuple[float, float], target: tuple[float, float], boxes: tuple[list[int], list[int]]) -> Case:
    """The stage, with a mug that moves between two places on the floor, and its boxes in both images."""
    facts = stage()
    poses = {
        f"{name}_pose": to_json_list(similarity(*at, 0, 0)) for name, at in (("source", source), ("target", target))
    }
    mug = facts.objects[0].model_copy(update=poses | {"source_box": boxes[0], "target_box": boxes[1]})
    step = [target[0] - source[0], target[1] - source[1], 0.0]
    edit = facts.edit.model_copy(update={"translation": step, "box": boxes[1]})
    return case_of(facts.model_copy(update={"objects": [mug, facts.objects[1]], "edit": edit}))


LEFT, FARTHER_LEFT, RIGHT = [22, 50, 38, 70], [6, 50, 22, 70], [102, 50, 118, 70]
PLACES = [
    # On the left of the image and the chair before and after: the text does not say what to do.
    ((-0.5, 0), (-0.8, 0), (LEFT, FARTHER_LEFT), "Move the mug to the left side of the image.", "unchecked"),
    ((-0.5, 0), (-0.8, 0), (LEFT, FARTHER_LEFT), "Move the mug to the left of the chair.", "unchecked"),
    ((-0.5, 0), (-0.8, 0), (LEFT, FARTHER_LEFT), "Move the mug about 30 cm to the left.", "agrees"),
    ((0.8, 0), (-0.8, 0), (RIGHT, FARTHER_LEFT), "Move the mug to the left side of the image.", "agrees"),
    ((0.8, 0), (-0.8, 0), (RIGHT, FARTHER_LEFT), "Move the mug to the left of the chair.", "agrees"),
    # It is on the left before and after, but moves to the right.
    ((-0.8, 0), (-0.5, 0), (FARTHER_LEFT, LEFT), "Move the mug to the left side of the image.", "contradicted"),
    # In front of the chair it hides the chair; at its side it is beside it.
    ((0.8, 0), (0.0, -0.25), (RIGHT, [55, 54, 73, 76]), "Move the mug beside the chair.", "contradicted"),
    ((0.8, 0), (0.05, -0.25), (RIGHT, [68, 54, 86, 76]), "Move the mug next to the chair.", "unchecked"),
    ((0.8, 0), (0.25, 0.0), (RIGHT, [76, 50, 92, 70]), "Move the mug next to the chair.", "agrees"),
    # Higher in the image than the chair, but not behind it.
    ((0.8, 0), (0.5, 1.0), (RIGHT, [78, 36, 90, 50]), "Move the mug behind the chair.", "unchecked"),
    ((0.8, 0), (0.05, 0.6), (RIGHT, [58, 40, 71, 55]), "Move the mug behind the chair.", "agrees"),
    ((-0.1, -0.8), (-0.25, -0.8), (LEFT, FARTHER_LEFT), "Move the mug slightly to the left.", "agrees"),
    ((0.8, 0), (-0.8, 0), (RIGHT, FARTHER_LEFT), "Move the mug slightly to the left.", "contradicted"),
    ((0.8, 0), (-0.8, 0), (RIGHT, FARTHER_LEFT), "Move the mug far to the left.", "agrees"),
    ((-0.1, -0.8), (-0.22, -0.8), (LEFT, FARTHER_LEFT), "Move the mug far to the left.", "contradicted"),
]


@pytest.mark.parametrize(("source", "target", "boxes", "text", "expected"), PLACES)
def test_true_but_misleading_texts_are_not_verified(source, target, boxes, text, expected):
    verdict = check_text(text, moved(source, target, boxes))
    assert verdict.outcome == expected, verdict


@pytest.mark.parametrize(("source", "target", "boxes"), [(a, b, c) for a, b, c, _, _ in PLACES])
def test_templates_do_not_mislead(source, target, boxes):
    case = moved(source, target, boxes)
    texts = true_of(case, 40)
    misleading = [text for a, b, c, text, found in PLACES if (a, b, c) == (source, target, boxes) and found != "agrees"]
    ends = [text.removeprefix("Move the mug ").removesuffix(".") for text in misleading]
    ends += ["beside the chair", "close to the chair"] if any("next to" in text for text in misleading) else []
    assert texts and not [text for text in texts for end in ends if end in text]


def test_amounts_without_a_number():
    for kind, numbers, little, much in (
        ("rotate", {"rotation_deg": 30.0, "view": ""}, "agrees", "contradicted"),
        ("rotate", {"rotation_deg": 150.0, "view": ""}, "contradicted", "agrees"),
        ("scale", {"scale": 1.25}, "agrees", "contradicted"),
        ("scale", {"scale": 0.5}, "contradicted", "agrees"),
    ):
        facts = random_facts(3, kind)
        case = case_of(facts.model_copy(update={"edit": facts.edit.model_copy(update=numbers)}))
        if kind == "rotate":
            text = f"Turn the {facts.objects[0].name} slightly counter-clockwise, seen from above."
            assert outcome(check_text(text, case), "amount") == little
            continue
        word = "larger" if numbers["scale"] > 1 else "smaller"
        for amount, expected in (("slightly", little), ("a lot", much), ("much", much)):
            text = f"Make the {facts.objects[0].name} {amount} {word}."
            assert outcome(check_text(text, case), "amount") == expected, text


def test_the_check_uses_poses():
    """A true text is false if the camera is on the other side of the scene."""
    facts = stage()
    view = facts.camera.source.model_copy(update={"world_from_camera": to_json_list(look_at([0, 4, 1.5], [0, 0, 0.1]))})
    mug = facts.objects[0].model_copy(update={"source_box": [102, 50, 118, 70], "target_box": [10, 50, 26, 70]})
    camera = facts.camera.model_copy(update={"source": view, "target": view})
    other = facts.model_copy(update={"camera": camera, "objects": [mug, facts.objects[1]]})
    text = "Move the red mug to the right of the chair."
    assert matrix4(view.world_from_camera)[0, 0] < 0
    assert check_text(text, case_of(facts)).outcome == "agrees"
    assert check_text(text, case_of(other)).outcome == "contradicted"
