from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialdata_builder.shards.colors import PALETTE
from spatialdata_builder.shards.geometry import intrinsics_of_lens, look_at, matrix3, matrix4, project, to_json_list
from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.scenes.naming import CONFUSABLE, name_objects
from spatialdata_builder.sources.scenes.spec import (
    CameraPose,
    EditSpec,
    Light,
    Placement,
    SceneObjectSpec,
    SceneSpec,
    State,
    Surface,
)

SIDE = 256
FLOOR = Surface("wood", (0.5, 0.4, 0.3), (0.4, 0.3, 0.2), 0.1, 0.0, 0.5, 0)
CAMERA = CameraPose(
    K=tuple(to_json_list(intrinsics_of_lens(35, SIDE, SIDE))),
    world_from_camera=tuple(to_json_list(look_at([0.0, -3.0, 1.5], [0.0, 0.0, 0.1]))),
)
NOUNS = ("mug", "coffee mug", "chair", "")
COLORS = ("", "red", "dark red", "blue", "green", "orange")


def asset(category: str, color: str = "", size: float = 0.2) -> Asset:
    corners = ((-size / 2, -size / 2), (size / 2, -size / 2), (size / 2, size / 2), (-size / 2, size / 2))
    return Asset(
        uid=f"{category}-{color}-{size}",
        path="",
        category=category,
        colour=color,
        licence="cc0",
        creator="",
        scale=1.0,
        offset=(0.0, 0.0, 0.0),
        size_m=(size, size, size),
        footprint=corners,
        triangles=12,
    )


def scene(*things: tuple[Asset, float, float], edited: int = 1, kind: str = "translate") -> SceneSpec:
    places = {k: Placement(x, y, 0.0, 0.0) for k, (_, x, y) in enumerate(things, start=1)}
    before, after = dict(places), dict(places)
    if kind == "insert":
        before[edited] = replace(before[edited], present=False)
    return SceneSpec(
        width=SIDE,
        height=SIDE,
        objects=tuple(SceneObjectSpec(k, thing[0], "midground") for k, thing in enumerate(things, start=1)),
        floor=FLOOR,
        walls=(),
        light=Light("studio", 0.0, 1.0),
        source=State(before, CAMERA),
        target=State(after, CAMERA),
        edit=EditSpec(kind, edited),  # type: ignore[arg-type]
        seed=0,
    )


MUG, RED, BLUE = asset("mug"), asset("mug", "red"), asset("mug", "blue")


@pytest.mark.parametrize(
    ("things", "expected"),
    [
        ([(MUG, 0, 0), (asset("chair"), 1, 0)], "mug"),
        ([(RED, 0, 0), (asset("chair"), 1, 0)], "mug"),
        ([(RED, 0, 0), (BLUE, 0, 0)], "red mug"),
        ([(RED, -0.5, 0), (MUG, 0.5, 0)], "left mug"),
        ([(RED, 0.5, 0), (asset("mug", "dark red"), -0.5, 0)], "right mug"),
        ([(asset("mug", "", 0.4), 0, 0), (MUG, 0, 1)], "larger mug"),
        ([(MUG, 0, 1), (asset("mug", "", 0.4), 0, 0)], "smaller mug"),
        ([(MUG, 0, -0.5), (MUG, 0, 1)], "front mug"),
        ([(MUG, 0, 1), (MUG, 0, -0.5)], "rear mug"),
        ([(MUG, 0, 0), (MUG, -0.6, 0), (MUG, 0.6, 0)], "middle mug"),
        ([(MUG, 0.9, 0), (MUG, -0.6, 0), (MUG, 0.3, 0)], "rightmost mug"),
        ([(RED, -0.5, 0), (RED, 0.5, 0), (BLUE, -0.5, 0.8)], "left red mug"),
        ([(MUG, 0, 0), (MUG, 0.05, 0.02)], None),
        ([(MUG, 0, 0), (asset("coffee mug"), 0, 0)], None),
        ([(asset("coffee mug"), 0, 0), (MUG, 0, 0)], "coffee mug"),
        ([(asset("", "red"), 0, 0), (asset("chair", "blue"), 0, 0)], "red object"),
        ([(asset(""), 0, 0)], "object"),
        ([(asset("red mug", "red"), 0, 0), (asset("red mug", "blue"), 0, 0)], None),
    ],
)
def test_names(things, expected):
    names = name_objects(scene(*things))
    assert (names if isinstance(names, str) else names[1]) == (expected or "ambiguous_name")


def test_the_middle_bookcase_is_not_called_like_a_board_of_it():
    shelves = scene(*((asset("shelf"), x, 0) for x in (0, -0.6, 0.6)))
    assert name_objects(shelves) == {1: "middle shelf", 2: "leftmost shelf", 3: "rightmost shelf"}
    assert name_objects(replace(shelves, kind="room")) == "ambiguous_name"


def test_blue_and_light_blue_do_not_distinguish_objects():
    for near in CONFUSABLE:
        assert near <= {*PALETTE}
        one, other = sorted(near)
        assert name_objects(scene((asset("mug", one), 0, 0), (asset("mug", other), 0, 0))) == "ambiguous_name"
    names = name_objects(scene((asset("mug", "light blue"), 0, 0), (asset("mug", "dark blue"), 0, 0)))
    assert names == {1: "light blue mug", 2: "dark blue mug"}


def test_perspective_must_not_contradict_size():
    # So far away that the larger one looks smaller.
    near, far = (asset("mug", "", 0.2), 0, -2), (asset("mug", "", 0.3), 0, 3)
    names = name_objects(scene(far, near))
    assert isinstance(names, dict) and names[1] == "rear mug"


def test_only_the_edited_object_needs_a_unique_name():
    twins = [(MUG, 0, 0), (MUG, 0.05, 0.02), (asset("chair"), 1, 0)]
    assert name_objects(scene(*twins, edited=1)) == "ambiguous_name"
    assert name_objects(scene(*twins, edited=3)) == {1: "mug", 2: "mug", 3: "chair"}
    assert name_objects(scene(*twins, edited=0, kind="camera")) == {1: "mug", 2: "mug", 3: "chair"}


def test_an_inserted_object_always_has_a_name_without_a_place():
    names = name_objects(scene((RED, 0, 0), (RED, 0.05, 0.02), kind="insert"))
    assert names == {1: "red mug", 2: "mug"}
    assert name_objects(scene((RED, 0, 0), (asset("chair"), 1, 0), kind="insert")) == {1: "mug", 2: "chair"}


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(NOUNS),
            st.sampled_from(COLORS),
            st.sampled_from((0.1, 0.2, 0.24, 0.4)),
            st.floats(-1, 1),
            st.floats(-1, 1),
        ),
        min_size=1,
        max_size=6,
    )
)
@pytest.mark.slow
def test_the_name_of_the_edited_object_is_unique(things):
    spec = scene(*((asset(noun, color, size), x, y) for noun, color, size, x, y in things))
    names = name_objects(spec)
    assert names == name_objects(spec)
    if isinstance(names, str):
        assert names == "ambiguous_name"
        return
    assert set(names) == set(range(1, len(things) + 1)) and all(names.values())
    assert named_by(spec, names[1]) == [1]


SUPERLATIVES = {
    **dict.fromkeys(("larger", "largest"), lambda size, u, depth: -size),
    **dict.fromkeys(("smaller", "smallest"), lambda size, u, depth: size),
    **dict.fromkeys(("left", "leftmost"), lambda size, u, depth: u),
    **dict.fromkeys(("right", "rightmost"), lambda size, u, depth: -u),
    **dict.fromkeys(("front", "nearest"), lambda size, u, depth: depth),
    **dict.fromkeys(("rear", "farthest"), lambda size, u, depth: -depth),
}


def named_by(spec: SceneSpec, name: str) -> list[int]:
    """The objects of the source that a name may describe: each word, from right to left, narrows the choice."""
    words = name.split()
    rank = words.pop(0) if words[0] in {*SUPERLATIVES, "middle"} else ""
    rest = " ".join(words)
    meant = [placed for placed in spec.objects if could_be(placed.asset, rest)]
    if not rank:
        return [placed.id for placed in meant]
    points = np.array([[spec.source.placements[p.id].x, spec.source.placements[p.id].y, 0.0] for p in meant])
    pixels, depth = project(points, matrix3(CAMERA.K), matrix4(CAMERA.world_from_camera))
    if rank == "middle":
        assert len(meant) == 3
        return [meant[int(np.argsort(pixels[:, 0])[1])].id]
    keys = [
        SUPERLATIVES[rank](placed.asset.size_m[0], pixel[0], z)
        for placed, pixel, z in zip(meant, pixels, depth, strict=True)
    ]
    best = min(keys)
    assert len(meant) == 2 or rank not in ("larger", "smaller", "left", "right", "front", "rear")
    return [placed.id for placed, key in zip(meant, keys, strict=True) if key <= best + 1e-9]


def could_be(thing: Asset, phrase: str) -> bool:
    """Whether a phrase may describe an object: an unknown color may be any, and dark red is red."""
    color = next((c for c in sorted(COLORS, key=len, reverse=True) if c and phrase.startswith(f"{c} ")), "")
    noun = phrase.removeprefix(f"{color} ")
    fits = noun == "object" or f" {thing.category}".endswith(f" {noun}")
    similar = not color or not thing.colour or color.split()[-1] == thing.colour.split()[-1]
    return fits and (similar or {color, thing.colour} == {"red", "orange"})
