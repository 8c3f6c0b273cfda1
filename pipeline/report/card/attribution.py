"""`ATTRIBUTION.md`: title, author, source, license and changes of each model, as Creative Commons licenses require.

Every asset that is visible in the source or target of a packed sample has a row. All texts are escaped, because they
come from metadata that anybody could write.
"""

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from typing import Final

from ....shards.errors import SpatialdataError
from ....shards.licenses import LICENSES, LicenseName, combine, label, license_url, licenses_of
from ....shards.markdown import code, escape, link, table
from ....sources.assets.identity import CREATORS
from ....sources.registry import SOURCES, all_sources, get_source
from ...opened import Build
from ...planning.survey import survey_folder
from ...store.layers import LayerStore
from ...store.plan import read_plan
from ..census import Census, VisibleAsset

_NAMELESS: Final = ("", "unknown")


def attribution(title: str, census: Census, titles: Mapping[str, str]) -> str:
    """The text of `ATTRIBUTION.md`.

    Args:
        title: title of the dataset, as Markdown.
        titles: titles of assets in their source, by uid; without one, the category is shown.
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
        dataset_license(census),
        "The page of an asset states the version of its license; the links below lead to the latest version.\n",
    ]
    for name in LICENSES:
        assets = [asset for asset in census.assets.values() if name in licenses_of(asset.license)]
        if assets:
            parts += [f"## {_heading(name)}\n", _listed(assets, titles)]
    return "\n".join(parts)


def dataset_license(census: Census) -> str:
    """The license of the dataset as a whole, or why there is none, as Markdown paragraphs."""
    whole = combine(asset.license for asset in census.assets.values())
    if whole.licence:
        version = "1.0" if whole.licence == "cc0" else "4.0"
        name = link(f"{label(whole.licence)} {version}", license_url(whole.licence))
        lines = [
            f"**License of the dataset: {name}**, the least restrictive license that the licenses of all its models "
            "allow. It covers what comes from the models. This is not legal advice."
        ]
    else:
        lines = [
            "**There is no license under which the whole dataset may be shared.** This is not legal advice.\n",
            *(f"- {problem}" for problem in whole.problems),
            *(f"- {_remedy(choice)}" for choice in whole.remedies),
        ]
    terms = {source.kind: source.terms for source in all_sources() if source.terms}
    notes = [f"\n{terms[name]}" for name in sorted(census.datasets) if name in terms]
    return "\n".join([*lines, *notes]) + "\n"


def _remedy(choice: Sequence[LicenseName]) -> str:
    ask = code(f"spatialdata shard OUT --recipe RECIPE --licenses {','.join(choice)}")
    return f"{ask} packs samples that may be shared under {label(combine(choice).licence or '')}"


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
