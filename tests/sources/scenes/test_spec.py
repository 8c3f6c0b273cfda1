"""What a build's options promise: kept whole in `build.json`, and in a layer's name only what can change a pixel."""

from spatialdata_builder.pipeline.store.fingerprints import plain
from spatialdata_builder.sources.scenes.spec import RenderOptions


def test_times_and_recycling_are_written_but_name_no_layer():
    patient = RenderOptions(timeout_s=900, scenes_per_process=7)
    assert plain(patient) == plain(RenderOptions())
    assert RenderOptions.model_validate_json(patient.model_dump_json()) == patient
    assert plain(RenderOptions(samples=3)) != plain(RenderOptions())
