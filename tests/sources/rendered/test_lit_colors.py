"""Names of a scene's objects, after a comparison with its images."""

from dataclasses import replace

import numpy as np
import pytest

from spatialdata_builder.shards.colors import PALETTE
from spatialdata_builder.sources.blender.render import RenderedView
from spatialdata_builder.sources.rendered.lit_colors import truly_named
from spatialdata_builder.sources.scenes.naming import name_objects
from spatialdata_builder.sources.scenes.spec import SceneSpec
from tests.sources.scenes.test_naming import asset, scene


def view(*colors: str) -> RenderedView:
    """Object k is a stripe of the k-th color; an empty color: the object is not visible."""
    rgb, labels = np.full((16, 16 * len(colors), 3), 128, np.uint8), np.zeros((16, 16 * len(colors)), np.uint8)
    for number, color in enumerate(colors):
        if color:
            stripe = np.s_[:, 16 * number : 16 * number + 16]
            rgb[stripe], labels[stripe] = PALETTE[color], number + 1
    none = np.zeros(labels.shape, np.float32)
    wide = np.zeros(rgb.shape, np.float32)
    return RenderedView(rgb, wide, wide, none, wide, labels, labels.astype(np.uint16), 0.0)


def named(spec: SceneSpec) -> SceneSpec:
    names = name_objects(spec)
    assert isinstance(names, dict)
    return replace(spec, names=names)


RED, BLUE = asset("mug", "red"), asset("mug", "blue")


def test_true_names_stay():
    spec = named(scene((RED, -0.5, 0), (BLUE, 0.5, 0)))
    assert truly_named([spec], [view("red", "blue"), view("dark red", "blue")]) == (spec,)
    assert truly_named([spec], [view("", "")]) == (spec,), "what is not seen contradicts nothing"


@pytest.mark.parametrize("views", [(("white", "blue"),), (("red", "blue"), ("dark grey", "blue"))])
def test_a_color_that_an_image_contradicts_is_removed(views: tuple[tuple[str, str], ...]):
    spec = named(scene((RED, -0.5, 0), (BLUE, 0.5, 0)))
    (found,) = truly_named([spec], [view(*colors) for colors in views])
    assert isinstance(found, SceneSpec)
    assert [placed.asset.colour for placed in found.objects] == ["", "blue"]
    assert spec.names[1] == "red mug" and found.names == {1: "left mug", 2: "right mug"}


def test_no_name_is_left():
    spec = named(scene((RED, 0, 0), (BLUE, 0.05, 0.02)))
    assert truly_named([spec], [view("white", "blue")]) == ("ambiguous_name",)


def test_the_category_is_compared_with_the_pixels_too():
    spec = named(scene((asset("red mug"), 0, 0), (asset("chair"), 1, 0)))
    (found,) = truly_named([spec], [view("blue", "")])
    assert isinstance(found, SceneSpec) and found.names[1] == "mug"
    assert truly_named([spec], [view("red", "")]) == (spec,)
