"""The choice is balanced, and the same for the same samples and seed."""

import math
import random
from collections import Counter

import numpy as np
import pytest

from spatialdata_builder.evaluation.choice import PRESETS, Candidate, Preset, choose, has_three_layers, strata_of
from spatialdata_builder.shards.codecs import encode_labels, encode_metric
from spatialdata_builder.shards.reader import StoredSample, read_record
from tests.shards.factory import make_sample

TWO = Preset(("translate", "rotate"), 10, ("scene", "distance"))


def candidate(number: int, kind: str = "translate", family: str = "", **strata: str) -> Candidate:
    key = f"s-{number:03d}"
    return Candidate(key, kind, family or key, {"kind": kind, "scene": "open", "distance": "small", **strata})  # type: ignore[arg-type]


def lopsided() -> list[Candidate]:
    """Of each kind 200: a fifth in rooms, a fifth far, independent of each other."""
    return [
        candidate(
            i,
            ("translate", "rotate")[i % 2],
            scene="room" if i // 2 % 5 == 0 else "open",
            distance="large" if i // 10 % 5 == 0 else "small",
        )
        for i in range(400)
    ]


def test_a_choice_is_balanced_in_every_dimension_where_the_samples_allow_it():
    chosen = choose(lopsided(), TWO, 12, 0)
    assert chosen.counts == {
        "kind": {"rotate": 12, "translate": 12},
        "scene": {"open": 12, "room": 12},
        "distance": {"large": 12, "small": 12},
    }
    assert chosen.missing == ()
    crossed = Counter((each.kind, each.strata["scene"]) for each in chosen.chosen)
    assert set(crossed.values()) == {6}


def test_the_choice_depends_on_samples_and_seed_only():
    pool = lopsided()
    first = choose(pool, TWO, 12, 0)
    random.Random(1).shuffle(pool)
    assert choose(pool, TWO, 12, 0) == first
    assert choose(pool, TWO, 12, 1).chosen != first.chosen
    assert [each.key for each in first.chosen] == sorted(each.key for each in first.chosen)


def test_the_choice_is_frozen():
    """A change of the algorithm needs a new `benchmarks.VERSION`."""
    chosen = choose(lopsided(), TWO, 3, 7)
    assert [each.key for each in chosen.chosen] == FROZEN


FROZEN = ["s-092", "s-100", "s-209", "s-251", "s-382", "s-387"]


def test_what_is_missing_is_said():
    pool = [candidate(i, scene="room") for i in range(4)]
    chosen = choose(pool, TWO, 6, 0)
    assert chosen.missing == ("translate: asked 6, found 4", "rotate: asked 6, found 0")
    views = Preset(("rotate",), 4, ("view",), values={"view": ("front view", "rear view")})
    found = choose([candidate(i, "rotate", view="front view") for i in range(9)], views, 4, 0)
    assert found.missing == ("view rear view: asked 2, found 0",)


def test_samples_of_one_scene_are_chosen_last():
    pool = [candidate(i, family="one") for i in range(50)] + [candidate(i) for i in range(50, 59)]
    chosen = choose(pool, TWO, 10, 0)
    assert Counter(each.family == "one" for each in chosen.chosen) == {True: 1, False: 9}
    across = [candidate(0, family="one"), candidate(1, "rotate", family="one"), candidate(2, "rotate", family="two")]
    assert [each.key for each in choose(across, TWO, 1, 0).chosen] == ["s-000", "s-002"]


def test_an_even_choice_is_as_good_as_the_best_of_all():
    """Against every set of this size: no other has a smaller largest count in all dimensions together."""
    rng = np.random.default_rng(3)
    pool = [candidate(i, scene=str(rng.integers(3)), distance=str(rng.integers(2))) for i in range(60)]
    counts = choose(pool, Preset(("translate",), 12, ("scene", "distance")), 12, 0).counts
    assert max(counts["scene"].values()) == 4
    assert max(counts["distance"].values()) == 6


def record_of(kind: str, text: str = "Move it.", **changes: object):
    record = read_record(make_sample("k", kind=kind)["json"])  # type: ignore[arg-type]
    edit = {name: value for name, value in changes.items() if name in type(record.edit).model_fields}
    scores = {name: value for name, value in changes.items() if name in type(record.scores).model_fields}
    return record.model_copy(
        update={
            "edit": record.edit.model_copy(update=edit),
            "scores": record.scores.model_copy(update=scores),
            "instruction": record.instruction.model_copy(update={"text": text}),
        }
    )


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        ("translate", {"displacement_px": 14.9}, "small"),
        ("translate", {"displacement_px": 15.0}, "medium"),
        ("swap", {"displacement_px": 35.0}, "large"),
        ("translate", {"displacement_px": -1.0}, "none"),
        ("rotate", {"rotation_deg": -90.0}, "medium"),
        ("rotate", {"rotation_deg": 120.0, "known": False}, "none"),
        ("scale", {"scale": 0.5}, "large"),
        ("scale", {"scale": 1.25}, "small"),
        ("camera", {"yaw_deg": 60.0, "pitch_deg": -70.0}, "large"),
        ("remove", {}, "none"),
    ],
)
def test_the_distance_is_how_far_an_edit_goes(kind, changes, expected):
    assert strata_of(record_of(kind, **changes), 100)["distance"] == expected


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [(1.0, 0.9, "clear"), (1.0, 0.7, "partial"), (0.5, 1.0, "heavy"), (0.0, 0.95, "clear"), (-1.0, -1.0, "none")],
)
def test_the_occlusion_is_that_of_the_view_that_shows_less(source, target, expected):
    assert strata_of(record_of("translate", visible_source=source, visible_target=target), 24)["occlusion"] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Move the box 1 behind the box 2.", "behind"),
        ("Put the box 1 on the box 2.", "on"),
        ("Move the box 1 to the left of the box 2.", "left"),
        ("Hmm.", "none"),
    ],
)
def test_the_relation_is_what_the_instruction_says(text, expected):
    assert strata_of(record_of("translate", text), 24)["relation"] == expected


def test_camera_edits_have_angles_and_zoom():
    found = strata_of(record_of("camera", yaw_deg=-45.0, pitch_deg=0.0, zoom=0.5, visible_source=1.0), 24)
    assert (found["yaw"], found["pitch"], found["zoom"]) == ("medium left", "none", "out")
    assert (found["occlusion"], found["category"], found["relation"]) == ("none", "none", "none")
    assert strata_of(record_of("translate"), 24)["yaw"] == "none"


@pytest.mark.parametrize(
    ("depths", "expected"),
    [
        ((2.0, 3.0, 4.0), True),
        ((2.0, 2.6, 4.0), False),
        ((2.0, 2.7, 4.0), True),
        ((2.0, 3.4, 4.0), False),
        ((2.0, 2.2, 2.5), False),
        ((2.0, 2.35, 2.65), True),
        ((2.0, 4.0), False),
        ((2.0, 3.0, math.inf), False),
    ],
)
def test_three_layers_are_objects_at_three_depths(depths, expected):
    members = make_sample("k", side=64)
    record = read_record(members["json"])
    labels, z = np.zeros((64, 64), np.uint8), np.full((64, 64), 9, np.float32)
    for number, depth in enumerate(depths, start=1):
        rows = np.s_[8 * number : 8 * number + 6, 4:20]
        labels[rows] = number
        z[rows] = 0 if math.isinf(depth) else depth  # 0: sky seen through it
    labels[0, 0], z[0, 0] = len(depths) + 1, 60  # too small to count
    metric, info = encode_metric(z, estimator="test", revision="1")
    objects = [record.objects[0].model_copy(update={"id": number}) for number in range(1, len(depths) + 2)]
    record = record.model_copy(
        update={"objects": objects, "maps": record.maps.model_copy(update={"source_metric": info})}
    )
    sample = StoredSample("k", {"source_instances": encode_labels(labels), "source_metric": metric}, {})
    assert has_three_layers(record, sample) is expected


def test_presets_accept_what_they_say():
    assert PRESETS["object-view"].accepts(record_of("rotate", view="the rear view."), None)  # type: ignore[arg-type]
    assert not PRESETS["object-view"].accepts(record_of("rotate"), None)  # type: ignore[arg-type]
    assert not PRESETS["camera"].accepts(record_of("camera", known=False), None)  # type: ignore[arg-type]
    assert len(PRESETS["object-view"].values["view"]) == 8
