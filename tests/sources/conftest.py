"""Blender for portraits: one process for each test module."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spatialdata_builder.shards.sample import Result, Row, Sample
from spatialdata_builder.sources.blender.render import Renderer
from spatialdata_builder.sources.scenes.spec import RenderOptions
from spatialdata_builder.sources.survey.appearance import MeasureAppearance, PortraitModel, portrait_options
from spatialdata_builder.sources.survey.geometry import SurveyAssets
from tests.needs import needs

Measure = Callable[..., Result]


@pytest.fixture(scope="module")
@needs("blender")
def portraitist() -> Iterator[Renderer]:
    with Renderer(portrait_options(RenderOptions()), threads=1) as renderer:
        yield renderer


@pytest.fixture
def measured(tmp_path: Path, portraitist: Renderer) -> Measure:
    """Survey and portrait of one model: `measured(data, **entry)` returns the row, or the reject of either."""

    def measure(data: bytes, **entry: Any) -> Result:
        (tmp_path / "model.glb").write_bytes(data)
        spec = {"uid": "u", "path": "model.glb", "licence": "by", "creator": "c", "name": "", "category": ""} | entry
        (found,) = SurveyAssets("objaverse")(tmp_path.joinpath, [Sample("u", "train", spec)])
        if isinstance(found, Row):
            sample = Sample("u", "train", spec, {"survey": found.columns})
            (found,) = MeasureAppearance("objaverse")(PortraitModel(portraitist, tmp_path.joinpath), [sample])
        return found

    return measure
