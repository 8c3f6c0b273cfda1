import re
from itertools import combinations
from typing import get_args

import numpy as np
import pytest

from spatialdata_builder.annotators.case import Case
from spatialdata_builder.annotators.checks import GeometryChecks, edit_error
from spatialdata_builder.annotators.claims import Claims
from spatialdata_builder.annotators.clauses.names import matching_references
from spatialdata_builder.annotators.edits.kind import Kind, Limits
from spatialdata_builder.annotators.edits.registry import KINDS, kind_of
from spatialdata_builder.annotators.edits.remove import Remove
from spatialdata_builder.annotators.grounding import edit_facts
from spatialdata_builder.annotators.parser.parse import parse
from spatialdata_builder.annotators.templates import instructions
from spatialdata_builder.shards.schema import EDIT_KINDS, Edit, EditKind, PairFacts
from tests.annotators.factory import SIDE, random_facts


def test_every_kind_of_the_schema_is_registered_once():
    assert tuple(KINDS) == EDIT_KINDS == get_args(EditKind)
    assert [kind_of(name).name for name in EDIT_KINDS] == list(EDIT_KINDS)


def test_an_incomplete_kind_cannot_be_defined_or_registered():
    attributes = {"name": "remove", "summary": "gone", "words": None}
    with pytest.raises(TypeError, match="Bare does not define claims"):
        type("Bare", (Kind,), attributes)
    incomplete: type[Kind] = type("Silent", (Kind,), {**attributes, "claims": frozenset[str]()})
    with pytest.raises(TypeError, match=r"abstract.*clauses.*facts.*unseen.*wordings"):
        incomplete()


def test_the_thresholds_are_those_of_the_stage():
    limits: Limits = GeometryChecks()
    names = [name for name in vars(Limits) if name.startswith(("min_", "max_"))]
    assert len(names) == 5 and all(isinstance(getattr(limits, name), float) for name in names)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_pairs_match_the_attributes_of_their_kind(kind: Kind):
    for seed in range(10):
        facts = random_facts(seed, kind.name)
        case = Case(facts, SIDE, SIDE)
        assert len(case.edited_objects) == kind.objects
        for one in case.edited_objects:
            assert (one.source_visible > 0) <= kind.in_source and (one.target_visible > 0) <= kind.in_target
        assert edit_error(facts) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_template_sentences_make_only_the_claims_of_their_kind(kind: Kind):
    silent = Claims(edit=kind.name)
    read: set[str] = set()
    for seed in range(20):
        case = Case(random_facts(seed, kind.name), SIDE, SIDE)
        texts = instructions(case, 12, np.random.default_rng(seed))
        for text in () if isinstance(texts, str) else texts:
            claims = parse(text, [one.name for one in case.facts.objects]).claims
            assert claims is not None and claims.edit == kind.name, text
            read |= {name for name in Claims.model_fields if getattr(claims, name) != getattr(silent, name)}
    assert read <= kind.claims <= set(Claims.model_fields)
    assert read, "the templates make no claims"


def test_a_word_belongs_to_one_kind():
    words = {name: kind.words for name, kind in KINDS.items() if kind.words}
    for (one, first), (other, second) in combinations(words.items(), 2):
        for field in ("verbs", "participles", "nouns"):
            same = set(getattr(first, field).split("|")) & set(getattr(second, field).split("|"))
            assert not same, (one, other, field)
    assert {name for name in KINDS if name not in words} == {"camera"}  # it has its own grammar


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.words])
def test_the_parser_reads_the_words_of_a_kind(name: EditKind):
    words = KINDS[name].words
    assert words is not None
    subject = "a mug" if not KINDS[name].in_source else "the mug"
    verb, participle = (re.split(r"[|(]", text)[0] for text in (words.verbs, words.participles))
    noun = words.nouns.split("|")[0]
    for text in (f"{verb} {subject}", f"{subject} should be {participle}", f"perform {noun} of {subject}"):
        claims = parse(text).claims
        assert claims is not None and (claims.edit, claims.object) == (name, "mug"), text


class _TwoObjects(Edit):
    """An edit whose objects are the first two of the scene."""

    @property
    def edited(self) -> tuple[int, ...]:
        return (1, 2)


def _edit_of_two(seed: int) -> PairFacts:
    facts = random_facts(seed, "translate")
    return facts.model_copy(update={"edit": _TwoObjects.model_validate(facts.edit.model_dump())})


def test_an_edit_of_two_objects_edits_both():
    for seed in range(20):
        facts = _edit_of_two(seed)
        case = Case(facts, SIDE, SIDE)
        assert [one.id for one in case.edited_objects] == [1, 2] and case.edited.id == 1
        assert not {1, 2} & set(case.names)
        lines = edit_facts(case).splitlines()
        assert sum(line.startswith("- edited object: ") for line in lines) == 2
        assert not any(case.name_of(case.edited_objects[1]) in line for line in lines if "other objects" in line)
        for one in facts.objects:
            assert matching_references(case, case.name_of(one)) == [one.id]
        assert edit_error(facts) == float("inf"), "a move has one object"


def test_an_edit_whose_object_is_absent_is_an_error():
    facts = random_facts(0, "remove")
    facts = facts.model_copy(update={"objects": facts.objects[1:]})
    with pytest.raises(ValueError, match="facts have no object 1"):
        _ = Case(facts, SIDE, SIDE).edited
    with pytest.raises(ValueError, match="camera edit edits no object"):
        _ = Case(random_facts(0, "camera"), SIDE, SIDE).edited
    assert edit_error(facts) == float("inf") and isinstance(kind_of("remove"), Remove)
