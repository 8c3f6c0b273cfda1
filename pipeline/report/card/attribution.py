"""`ATTRIBUTION.md`: title, author, source, license and changes of each model, as Creative Commons licenses require.

Every asset that is visible in the source or target of a packed sample has a row. All texts are escaped, because they
come from metadata that anybody could write.
"""

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Final

from ....shards.errors import SpatialdataError
from ....shards.licenses import (
    LICENSES,
    CombinedLicense,
    LicenseName,
    combine,
    label,
    license_url,
    licenses_of,
    to_license_name,
)
from ....shards.markdown import code, escape, link, table
from ....sources.assets.identity import CREATORS
from ....sources.materials.table import Materials
from ....sources.registry import SOURCES, all_sources, get_source
from ...opened import Build
from ...planning.survey import survey_folder
from ...store.layers import LayerStore
from ...store.plan import read_plan
from ..census import Census, VisibleAsset

_NAMELESS: Final = ("", "unknown")
_NAMED: Final = 8
"""Most HDRIs, texture sets and room models of unknown license that a card names."""


def attribution(title: str, census: Census, titles: Mapping[str, str], materials: Materials) -> str:
    """The text of `ATTRIBUTION.md`.

    Args:
        title: title of the dataset, as Markdown.
        titles: titles of assets in their source, by uid; without one, the category is shown.
        materials: HDRIs, texture sets and room models of the plan.
    """
    creators = {
        name for asset in census.assets.values() for name in asset.creator.split(CREATORS) if name not in _NAMELESS
    }
    who = f"by {_counted(len(creators), 'named creator')}" if creators else "whose creators are not named"
    parts = [
        f"# Attribution for {title}\n",
        f"The images of this dataset show {_counted(len(census.assets), '3D model')} {who}. Changes: models were "
        "scaled, placed in composed scenes with floors, walls and light, and rendered; each image is an adaptation of "
        "every model that it shows.\n",
        dataset_license(census, materials),
        "The page of an asset states the version of its license; the links below lead to the latest version.\n",
    ]
    for name in LICENSES:
        assets = [asset for asset in census.assets.values() if name in licenses_of(asset.license)]
        if assets:
            parts += [f"## {_heading(name)}\n", _listed(assets, titles)]
    if materials != Materials():
        parts += [
            f"## {kinds_of(materials)}\n",
            "The scenes of this dataset draw their light, floors, walls and rooms from these, beside those that are "
            "this project's own or ship with Blender. Which sample shows which is not recorded. Changes: they were "
            "scaled, turned, repeated and rendered.\n",
            _listed_materials(materials),
        ]
    return "\n".join(parts)


def whole_license(census: Census, materials: Materials) -> CombinedLicense:
    """The license of the dataset as a whole. Its remedies are those that the choice of samples allows."""
    given = [one.credits.license for one in materials.credited]
    whole = combine([*(asset.license for asset in census.assets.values()), *given])
    models = combine(asset.license for asset in census.assets.values())
    helpful = tuple(choice for choice in models.remedies if combine([*choice, *given]).licence)
    return replace(whole, remedies=helpful)


def dataset_license(census: Census, materials: Materials) -> str:
    """The license of the dataset as a whole, or why there is none, as Markdown paragraphs."""
    whole = whole_license(census, materials)
    found = f"models, {kinds_of(materials)}" if materials != Materials() else "models"
    if whole.licence:
        version = "1.0" if whole.licence == "cc0" else "4.0"
        name = link(f"{label(whole.licence)} {version}", license_url(whole.licence))
        lines = [
            f"**License of the dataset: {name}**, the least restrictive license that the licenses of all its {found} "
            "allow. It covers what comes from the models. This is not legal advice."
        ]
    else:
        lines = [
            "**There is no license under which the whole dataset may be shared.** This is not legal advice.\n",
            *(f"- {problem}" for problem in whole.problems),
            *(f"- {_remedy(choice)}" for choice in whole.remedies),
            *_unlicensed(materials),
        ]
    terms = {source.kind: source.terms for source in all_sources() if source.terms}
    notes = [f"\n{terms[name]}" for name in sorted(census.datasets) if name in terms]
    return "\n".join([*lines, *notes]) + "\n"


def _remedy(choice: Sequence[LicenseName]) -> str:
    ask = code(f"spatialdata shard OUT --recipe RECIPE --licenses {','.join(choice)}")
    return f"{ask} packs samples that may be shared under {label(combine(choice).licence or '')}"


def _unlicensed(materials: Materials) -> list[str]:
    """A line on what is of unknown license, if there is any."""
    unknown = [one.name for one in materials.credited if "unknown" in licenses_of(one.credits.license)]
    if not unknown:
        return []
    more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
    names = ", ".join(escape(name) for name in unknown[:_NAMED])
    return [f"- these {kinds_of(materials)} have an unknown license: {names}{more}"]


def kinds_of(materials: Materials) -> str:
    """What the table of materials has."""
    return "HDRIs, texture sets and room models" if materials.environments else "HDRIs and texture sets"


def _listed_materials(materials: Materials) -> str:
    rows: list[list[object]] = []
    kinds = (("HDRI", materials.hdris), ("texture set", materials.sets), ("room model", materials.environments))
    for kind, found in kinds:
        for one in found:
            credits = one.credits
            name = to_license_name(credits.license)
            license = escape(credits.license) if name == "unknown" else link(label(name), license_url(name))
            page = credits.source if credits.source.startswith("https://") else ""
            source = link(credits.source, page) if credits.source else "(not named)"
            rows.append([kind, escape(one.name), escape(credits.creator) or "(not named)", license, source])
    return table(["kind", "name", "creator", "license", "source"], rows)


def titles_of(build: Build, uids: Container[str]) -> dict[str, str]:
    """Titles of these assets in the plan of the survey, by uid; empty if there is no survey."""
    kept = LayerStore(survey_folder(build.config, build.store), **build.store.options)
    titles: dict[str, str] = {}
    for digest in sorted(kept.names("")):
        try:
            plan = read_plan(LayerStore(f"{kept.url.rstrip('/')}/{digest}", **kept.options))
            rows = (row.spec for unit in range(plan.units) for row in plan.rows(unit))
            titles |= {spec["uid"]: spec["name"] for spec in rows if "name" in spec and spec["uid"] in uids}
        except SpatialdataError:
            continue
    return titles


def source_page(asset: VisibleAsset) -> str:
    """URL of an asset's page; empty if none is known."""
    return get_source(asset.dataset).asset_page(asset.uid) if asset.dataset in SOURCES else ""


def _heading(name: str) -> str:
    return link(label(name), license_url(name)) if name != "unknown" else "License unknown"


def _listed(assets: Sequence[VisibleAsset], titles: Mapping[str, str]) -> str:
    """One row per asset, grouped by creator, those with the most models first."""
    number = Counter(asset.creator for asset in assets)

    def order(asset: VisibleAsset) -> tuple[int, str, str, str]:
        return -number[asset.creator], asset.creator.casefold(), _title(asset, titles).casefold(), asset.uid

    terms = ["terms as named"] if any(asset.license not in (*LICENSES, "") for asset in assets) else []
    rows = [
        [
            escape(asset.creator) if asset.creator not in _NAMELESS else "(not named)",
            escape(_title(asset, titles)) or "(no title)",
            link(asset.uid, source_page(asset)),
            *(escape(asset.license) for _ in terms),
            asset.samples,
        ]
        for asset in sorted(assets, key=order)
    ]
    return table(["creator", "model", "asset", *terms, "samples"], rows)


def _title(asset: VisibleAsset, titles: Mapping[str, str]) -> str:
    return titles.get(asset.uid, "").strip() or asset.category


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
