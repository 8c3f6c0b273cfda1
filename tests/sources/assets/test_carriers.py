"""Which models carry others, by category and by shape, and the front of furniture from its supports."""

import math
from pathlib import Path

import pytest

from spatialdata_builder.shards.schema import SupportKind
from spatialdata_builder.sources.assets.carriers import (
    AssetSupports,
    carries,
    from_json,
    front_from_supports,
    may_carry,
    role,
    to_json,
)
from spatialdata_builder.sources.assets.mesh import read_mesh
from spatialdata_builder.sources.assets.supports import Ring, Support, find_supports
from spatialdata_builder.sources.procedural import catalog, write_glb

SIZE = (0.9, 0.9, 0.9)


def region(
    kind: SupportKind = "top", z: float = 0.5, box: tuple[float, float, float, float] = (-0.4, -0.4, 0.4, 0.4), **more
) -> Support:
    left, bottom, right, top = box
    ring: Ring = ((left, bottom), (right, bottom), (right, top), (left, top))
    values = {"clearance": math.inf, "radius": min(right - left, top - bottom) / 2} | more
    return Support(kind, z, (ring,), **values)


@pytest.mark.parametrize(
    ("category", "expected"),
    [
        ("table", "surface"),
        ("coffee table", "surface"),
        ("wooden teak table", "surface"),
        ("table with tablecloth", "surface"),
        ("chest of drawers", "surface"),
        ("table lamp", "none"),
        ("wooden shelves", "surface"),
        ("convertible sofa bz", "seat"),
        ("cardboard box", "container"),
        ("gift box", "none"),
        ("coffee machine", "none"),
        ("toy car", "none"),
        ("toaster oven", "appliance"),
        ("", "unknown"),
        ("playstation", "unknown"),
    ],
)
def test_roles(category: str, expected: str):
    assert role(category) == expected
    assert may_carry(category) == (expected != "none")


def test_a_table_carries_and_the_roof_of_a_toy_car_does_not():
    found = (region(), region("under", 0.0, clearance=0.48))
    assert carries("table", (0.9, 0.9, 0.5), found) == found
    assert carries("toy car", (0.9, 0.9, 0.5), found) == ()


def test_ledges_arms_and_backs_do_not_count():
    seat, arm = region("soft", 0.4), region("top", 0.6, (0.5, -0.4, 0.62, 0.4))
    ledge = region("top", 0.7, (-0.4, 0.4, 0.4, 0.46))
    assert carries("sofa", (1.4, 0.9, 0.8), (seat, arm, ledge)) == (seat,)
    assert carries("desk", (1.4, 0.9, 0.8), (seat, arm, ledge)) == (seat, arm)


def test_a_container_carries_inside_and_a_stove_only_on_top():
    inside, top = region("inside", 0.02, rim=0.3), region("top", 0.5)
    assert carries("basket", (0.9, 0.9, 0.5), (inside, top)) == (inside, top)
    assert carries("stove", (0.9, 0.9, 0.5), (inside, top)) == (top,)


def test_a_model_of_unknown_category_must_look_like_furniture():
    size = (0.9, 0.9, 0.5)
    block, low, small = region(), region(z=0.3), region(box=(-0.2, -0.2, 0.2, 0.2))
    assert carries("", size, (block,)) == (block,)
    assert carries("", size, (low,)) == carries("", size, (small,)) == ()
    assert carries("", (9.0, 9.0, 5.0), (block,)) == ()
    boards = tuple(region("shelf", z, clearance=0.3, open_sides=("-y",)) for z in (0.1, 0.45))
    assert carries("", (0.9, 0.9, 0.9), boards) == boards
    assert carries("", (0.9, 0.9, 0.9), boards[:1]) == ()
    floor = region("inside", 0.02, rim=0.3)
    assert carries("", size, (floor,)) == (floor,)


def test_the_front_of_seats_and_of_open_furniture():
    assert front_from_supports("chair", SIZE, [region("top", 0.45, (-0.2, -0.25, 0.2, 0.15))]) == 270.0
    assert front_from_supports("stool", SIZE, [region("top", 0.45, (-0.2, -0.2, 0.2, 0.21))]) is None
    # One cushion of a wide sofa was not found.
    cushions = [region("soft", 0.4, (x - 0.3, -0.4, x + 0.3, 0.25)) for x in (-0.7, -0.02)]
    assert front_from_supports("sofa", SIZE, cushions) == 270.0
    boards = [region("shelf", z, clearance=0.3, open_sides=("+x",)) for z in (0.1, 0.5)]
    assert front_from_supports("bookcase", SIZE, boards) == 0.0
    assert front_from_supports("table", SIZE, [region("under", 0.0, clearance=0.7, open_sides=("+y", "-y"))]) is None
    assert front_from_supports("toy car", SIZE, boards) is None
    assert front_from_supports("cabinet", SIZE, []) is None


def test_what_rises_above_the_top_of_a_cabinet_is_at_its_back():
    top = region("top", 0.85, (-0.45, -0.45, 0.45, 0.42))
    assert front_from_supports("cabinet", SIZE, [top]) == 270.0
    assert front_from_supports("washing machine", SIZE, [region("top", 0.85, (-0.4, -0.45, 0.45, 0.45))]) == 0.0
    assert front_from_supports("cabinet", (0.9, 0.9, 0.86), [top]) is None
    assert front_from_supports("cabinet", SIZE, [region("top", 0.85)]) is None
    pipe = ((-0.45, -0.45), (0.45, -0.45), (0.45, 0.2), (0.0, 0.2), (0.0, 0.42), (-0.45, 0.42))
    assert front_from_supports("stove", SIZE, [Support("top", 0.85, (pipe,), clearance=math.inf, radius=0.3)]) is None


def test_supports_of_an_asset_are_stored():
    boards = tuple(region("shelf", z, clearance=0.3, open_sides=("-x",)) for z in (0.1, 0.5))
    found = AssetSupports.of("bookcase", (0.9, 0.9, 0.9), (*boards, region("inside", 0.8, (0.0, 0.0, 0.05, 0.05))))
    assert found == AssetSupports(boards, 180.0) == from_json(to_json(found))
    assert to_json(AssetSupports()) == "{}" and from_json("{}") == AssetSupports()


@pytest.mark.slow
def test_procedural_models_carry_what_they_should_and_face_their_front(tmp_path: Path):
    carried: dict[str, set[str]] = {}
    fronts = 0
    for asset in catalog(2):
        found = AssetSupports.of(
            asset.category, asset.size_m, find_supports(*read_mesh(asset, write_glb(asset.uid, tmp_path)))
        )
        carried.setdefault(asset.category, set()).update(one.kind for one in found.supports)
        if found.furniture_front_deg is not None:
            fronts += 1
            assert found.furniture_front_deg == asset.front_deg, asset.uid
        elif asset.category in ("chair", "sofa", "shelf"):
            pytest.fail(f"the front of {asset.uid} was not found")
    assert fronts == 6
    assert carried["table"] == {"top", "under"} and carried["shelf"] == {"top", "shelf"}
    assert carried["chair"] >= {"top"} and carried["sofa"] & {"top", "soft"}
    assert carried["bowl"] == carried["bucket"] == carried["crate"] == carried["cardboard box"] == {"inside"}
    for category in ("toy car", "traffic cone", "apple", "ball", "lamp", "laptop", "television", "teapot", "gift box"):
        assert carried[category] == set(), category
