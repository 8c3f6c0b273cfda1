"""Options are stored completely in `build.json`; fingerprints cover only those that can change a pixel."""

from spatialdata_builder.pipeline.store.fingerprints import plain
from spatialdata_builder.sources.scenes.spec import RenderOptions


def test_timeouts_and_scenes_per_process_are_stored_but_not_in_fingerprints():
    patient = RenderOptions(timeout_s=900, scenes_per_process=7)
    assert plain(patient) == plain(RenderOptions())
    assert RenderOptions.model_validate_json(patient.model_dump_json()) == patient
    assert plain(RenderOptions(samples=3)) != plain(RenderOptions())


def test_the_tree_of_lights_is_in_fingerprints_only_where_it_is_off():
    assert "light_tree" not in plain(RenderOptions(light_tree="on"))
    assert plain(RenderOptions(light_tree="off"))["light_tree"] == "off"
    assert RenderOptions.model_validate({"light_tree": False}).light_tree == "off"  # as YAML reads `off`
