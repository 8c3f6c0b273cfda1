"""Every kind of edit has its rules, and they agree with each other and with the schema."""

from dataclasses import fields

import pytest

from spatialdata_builder.shards.schema import EDIT_KINDS, Edit, EditKind, objects_edited
from spatialdata_builder.sources.edits.kind import EditRules
from spatialdata_builder.sources.edits.proposals import propose
from spatialdata_builder.sources.edits.registry import RULES, composed_kind, composes_alone, inverse_kind, partners_of
from spatialdata_builder.sources.scenes.spec import EditSpec, SceneOptions
from tests.sources.edits.test_edits import proposals

by_kind = pytest.mark.parametrize("kind", EDIT_KINDS)
NUMBERS = {"translation", "rotation_deg", "view", "scale", "yaw_deg", "pitch_deg", "zoom"}


def test_no_kind_is_missing():
    assert tuple(RULES) == EDIT_KINDS
    assert all(isinstance(rules, EditRules) and rules.kind == kind for kind, rules in RULES.items())
    assert len({type(rules) for rules in RULES.values()}) == len({rules.noun for rules in RULES.values()}) == len(RULES)


def test_an_unknown_kind_is_an_error():
    with pytest.raises(KeyError, match="melt"):
        propose([], "melt", SceneOptions(), (64, 64), 0, 0)  # pyright: ignore[reportArgumentType]


@by_kind
def test_every_kind_has_an_inverse(kind: EditKind):
    back = RULES[inverse_kind(kind)]
    assert back.inverse == kind
    assert (back.in_source, back.in_target) == (RULES[kind].in_target, RULES[kind].in_source)


@by_kind
def test_kinds_compose_in_both_orders(kind: EditKind):
    """The inverse of the edit between two targets is of the inverse kind."""
    for other in EDIT_KINDS:
        there, back = composed_kind(kind, other), composed_kind(other, kind)
        assert (there is None) == (back is None)
        assert there is None or back == inverse_kind(there)
    for other in partners_of(kind):
        assert composes_alone(other)
        assert kind in RULES[other].composes or not RULES[kind].composes  # a swap composes with nothing


@pytest.mark.slow
@by_kind
def test_edits_agree_with_the_rules_of_their_kind(kind: EditKind):
    """All other numbers are neutral, and the edited objects have the number and presence that the schema requires."""
    rules = RULES[kind]
    names = {field.name for field in fields(EditSpec)} & NUMBERS
    assert set(rules.numbers) <= names == NUMBERS <= set(Edit.model_fields)
    rest = EditSpec(kind, 1)
    specs = proposals(kind, range(12))
    assert len(specs) > 6
    changed = {name for spec in specs for name in names if getattr(spec.edit, name) != getattr(rest, name)}
    assert changed <= set(rules.numbers) <= changed | {"view"}
    for spec in specs:
        assert len(spec.edit.edited) == objects_edited(kind)
        for state, there in ((spec.source, rules.in_source), (spec.target, rules.in_target)):
            assert all(state.placements[identity].present == there for identity in spec.edit.edited)
