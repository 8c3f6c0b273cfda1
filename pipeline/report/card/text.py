"""The text of a card, section by section. Texts from metadata or the configuration are escaped."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

import numpy as np

from ....shards.licenses import LICENSES, combine, label, licenses_of, to_license_name
from ....shards.markdown import code, escape, fenced, table
from ....shards.recipes import RECIPES
from ....shards.schema import Derivation, Scores
from ....shards.sidecars.card import ATTRIBUTION, USAGE, edits_table, members_table, splits_table
from ....shards.sidecars.facts import PUBLIC_SPLIT
from ..census import Census
from .attribution import dataset_license, kinds_of
from .facts import CardFacts
from .making import layers, making
from .references import references
from .splits import SplitCheck

_CATEGORIES: Final = 20
"""Most categories that the card names."""
_MEANINGS: Final = {
    "visible_target": "the same in the target",
    "displacement_m": "distance that the edited object moved, in meters",
    "semantic_consistency": "does the target follow the instruction and keep the rest",
    "perceptual_quality": "does the target look natural",
    "instruction_check": "agreement of the instruction with geometry",
}
"""Meanings of scores that the schema does not describe."""


_DERIVED: Final[dict[Derivation, str]] = {
    "invert": "inverses (from target to source)",
    "compose": "from the target of one edit to that of another of the same scene",
}


def card_text(facts: CardFacts) -> str:
    """The card without its YAML header."""
    sections = (_summary, _composition, _members, making, layers, _limits, _licenses, _splits, _citation)
    return "\n".join(part for section in sections for part in section(facts))


def _summary(facts: CardFacts) -> Iterator[str]:
    census, recipe = facts.census, facts.recipe
    sources = " and ".join(escape(name) for name in sorted(census.datasets))
    yield f"# {facts.title}\n"
    verified = "" if census.unverified else "verified "
    yield (
        f"{recipe.samples} {verified}triplets for spatial image editing: a source image, an instruction, and the "
        f"target image that it asks for, at {_sizes(census)} pixels, rendered from {len(census.assets)} 3D models "
        f"({sources}). Recipe `{recipe.recipe}`: {RECIPES[recipe.recipe].purpose}; plain WebDataset tars.\n"
    )
    yield USAGE


def _sizes(census: Census) -> str:
    sizes = [f"{width} × {height}" for width, height in sorted(census.sizes)]
    return sizes[0] if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"


def _composition(facts: CardFacts) -> Iterator[str]:
    census = facts.census
    yield "## Composition\n"
    yield splits_table(facts.recipe)
    yield edits_table(facts.recipe)
    yield from _derived(census)
    seen = np.repeat(list(census.objects), list(census.objects.values()))
    yield f"Visible objects per sample: {seen.min()} to {seen.max()}, {seen.mean():.1f} on average.\n"
    named = sorted((-count, name) for name, count in census.categories.items() if name)
    listed = ", ".join(f"{escape(name)} {-count}" for count, name in named[:_CATEGORIES])
    if named:
        more = f", and {len(named) - _CATEGORIES} more" if len(named) > _CATEGORIES else ""
        yield f"Edited objects, {len(named)} categories: {listed}{more}.\n"
    yield from _scores(census)


def _derived(census: Census) -> Iterator[str]:
    found = {how: count for how, count in census.derived.items() if how}
    if found:
        kinds = " and ".join(f"{found[how]} {words}" for how, words in _DERIVED.items() if how in found)
        yield (
            f"{sum(found.values())} of the {census.samples} samples were derived from others, without rendering: "
            f"{kinds}. They have the images of their origins (`provenance.origin`), and exact facts and instructions "
            "of their own. `provenance.derived` states how a sample was derived.\n"
        )


def _scores(census: Census) -> Iterator[str]:
    rows: list[list[object]] = []
    for name, values in census.scores.items():
        if len(values):
            found = np.percentile(np.frombuffer(values, np.float32).astype(np.float64), (5, 50, 95))
            meaning = Scores.model_fields[name].description or _MEANINGS.get(name, "")
            rows.append([code(name), meaning, len(values), *(float(f"{number:.4g}") for number in found)])
    if rows:
        yield "Scores as measured (`scores` of each sample):\n"
        yield table(["score", "of", "samples", "5 %", "median", "95 %"], rows)


def _members(facts: CardFacts) -> Iterator[str]:
    yield "## A sample\n"
    yield members_table(facts.recipe)


def _limits(facts: CardFacts) -> Iterator[str]:
    yield "## Known limits\n"
    yield "Counted from the samples of this dataset:\n"
    yield "".join(f"- {limit}\n" for limit in facts.limits)


def _licenses(facts: CardFacts) -> Iterator[str]:
    census = facts.census
    yield "## Licenses\n"
    yield dataset_license(census, facts.materials)
    rows: list[list[object]] = []
    for names, count in sorted(census.licenses.items(), key=lambda item: (-item[1], item[0])):
        alone = combine(names)
        rows.append(
            [
                " and ".join(map(label, names)) or "no model",
                count,
                f"{count / census.samples:.1%}",
                label(alone.licence) if alone.licence else "nothing",
            ]
        )
    yield "Samples by the licenses of the models that they show, and the license of one such sample:\n"
    yield table(["models under", "samples", "share", "sample under"], rows)
    models = Counter(name for asset in census.assets.values() for name in licenses_of(asset.license))
    yield table(["license", "models"], [[label(name), models[name]] for name in LICENSES if models[name]])
    if counts := Counter(to_license_name(one.credits.license) for one in facts.materials.credited):
        rows = [[label(name), counts[name]] for name in LICENSES if counts[name]]
        yield table(["license", kinds_of(facts.materials)], rows)
    yield f"[{ATTRIBUTION}]({ATTRIBUTION}) names every visible model, its creator and its license.\n"


def _splits(facts: CardFacts) -> Iterator[str]:
    check = facts.splits
    yield "## Splits\n"
    rows = [
        [f"{PUBLIC_SPLIT[one]}, {PUBLIC_SPLIT[other]}", len(found), check.scenes[one, other]]
        for (one, other), found in check.assets.items()
    ]
    if rows:
        yield "Counted from the samples of this dataset:\n"
        yield table(["splits", "models that both show", "scenes in both"], rows)
        leak = "**A held-out split shares models or scenes with another split: see the table.**"
        yield (leak if check.leaks else _no_leaks(check)) + "\n"
    else:
        yield "There is only one split.\n"
    if check.duplicates is None:
        missing = "Near-duplicates are not known, because some records of the layers are missing.\n"
        yield missing if check.lost else "Near-duplicates were not searched.\n"
        return
    found = ", ".join(f"{reason.replace('_', ' ')} {count}" for reason, count in check.duplicates.reasons.items())
    bits = f"{check.options.distance} of 256 bits of a perceptual hash"
    across = "within a split and across splits" if check.options.across_splits else "within a split, not across splits"
    yield f"Near-duplicates (images within {bits}) were searched {across}; left out: {found or 'none found'}.\n"


def _no_leaks(check: SplitCheck) -> str:
    if check.released:
        return (
            "No model of test is seen in train, and no scene is in two splits. Released pairs keep the split of the "
            "release, in which validation may share models with the other splits."
        )
    return "No model of test is seen in train, no model of validation in train or test, and no scene is in two splits."


def _citation(facts: CardFacts) -> Iterator[str]:
    recipe, plan = facts.recipe, facts.build.plan.hash
    name = re.sub(r"[^a-z0-9]", "", f"{recipe.name}{recipe.recipe}{plan[:8]}")
    yield "## Citation\n"
    yield fenced(
        f"@misc{{{name},\n"
        f"  title = {{{recipe.name}: {recipe.samples} triplets for spatial image editing ({recipe.recipe})}},\n"
        f"  note = {{Made with spatialdata {facts.version}, plan {plan[:16]}}},\n"
        "}",
        "bibtex",
    )
    works = references(facts.census.assets.values(), facts.census.datasets, facts.origins)
    if works:
        yield "Works that this dataset builds on:\n"
        yield "".join(f"- {work}\n" for work in works)
