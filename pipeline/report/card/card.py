"""`spatialdata card`: the dataset card (content, provenance, known limits) and the attribution of a packed dataset.

Invariant: everything is computed from the shards, the plan and the records; the same build gives the same bytes. The
YAML header is that of `shards.sidecars.card`, so that Hugging Face `datasets` loads the splits.
"""

from typing import Any

from ....shards.errors import BadInput
from ....shards.layout import join
from ....shards.licenses import CombinedLicense, hub_name, label
from ....shards.recipes import get_recipe
from ....shards.sidecars import ATTRIBUTION
from ....shards.sidecars.card import CARD, card, head_of
from ....shards.writer import publish_bytes
from ...opened import Build, open_build
from ...packing.packed_recipes import packed_recipes
from ...terminal import say
from .attribution import attribution
from .facts import CardFacts, gather
from .text import card_text


def run_card(out: str, recipe: str = "") -> dict[str, Any]:
    """Write the cards of one packed recipe under OUT, or of all, beside the shards.

    Raises BadInput if there is no build, nothing was packed, or the shards were packed from other layers than the build
    has now.
    """
    build = open_build(out)
    packed = packed_recipes(build.store)
    wanted = [get_recipe(recipe).name] if recipe else packed
    if not wanted or not set(wanted) <= set(packed):
        others = f" (packed: {', '.join(packed)})" if packed else ""
        raise BadInput(
            f"{build.store} has no shards{f' of {recipe}' if recipe else ''}{others}: pack them with "
            f"`spatialdata shard {out} --recipe {recipe or 'full'}` before writing a card"
        )
    return {"out": str(build.store), "note": build.note, "cards": [write_card(build, name) for name in wanted]}


def write_card(build: Build, recipe: str) -> dict[str, Any]:
    """Write `README.md` and `ATTRIBUTION.md` beside the shards of a recipe. Returns their numbers.

    Raises the errors of `pipeline.report.card.facts.gather`.
    """
    facts = gather(build, recipe)
    head = _license_header(facts.whole) | head_of(facts.recipe)
    publish_bytes(
        attribution(facts.title, facts.census, facts.titles, facts.materials).encode(), join(facts.folder, ATTRIBUTION)
    )
    publish_bytes(card(head, card_text(facts)), join(facts.folder, CARD))
    return _summary(facts)


def _license_header(whole: CombinedLicense) -> dict[str, str]:
    """License fields of the Hugging Face card: a name that the hub knows, or `other` with a link to the attribution."""
    if whole.licence:
        return {"license": hub_name(whole.licence)}
    return {"license": "other", "license_name": "see-attribution", "license_link": ATTRIBUTION}


def _summary(facts: CardFacts) -> dict[str, Any]:
    census, splits = facts.census, facts.splits
    return {
        "recipe": facts.recipe.recipe,
        "folder": facts.folder,
        "files": [join(facts.folder, name) for name in (CARD, ATTRIBUTION)],
        "samples": census.samples,
        "assets": len(census.assets),
        "licence": facts.whole.licence or "",
        "licence_problems": list(facts.whole.problems),
        "licences": {"+".join(names): count for names, count in sorted(census.licenses.items())},
        "leaks": splits.leaks,
        "shared_assets": {f"{one}+{other}": len(found) for (one, other), found in splits.assets.items()},
        "shared_scenes": {f"{one}+{other}": found for (one, other), found in splits.scenes.items()},
        "limits": list(facts.limits),
    }


def print_card(found: dict[str, Any]) -> None:
    """Print the files that were written, the license of the dataset, and problems."""
    for one in found["cards"]:
        say(f"{one['recipe']}: {one['samples']} samples, {one['assets']} models")
        for name in one["files"]:
            say(f"  {name}")
        say(f"  license of the dataset: {license_summary(one)}")
        if one["leaks"]:
            say("  splits share scenes or models: see Splits in README.md")
    if found["note"]:
        say(found["note"])


def license_summary(found: dict[str, Any]) -> str:
    """The license that `write_card` found, or why there is none."""
    return label(found["licence"]) if found["licence"] else f"none ({'; '.join(found['licence_problems'])})"
