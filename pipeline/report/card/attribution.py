"""`ATTRIBUTION.md`: whose models the samples show, as Creative Commons asks: title, author, source, licence, changes.

Every asset of which something is seen in source or target of a sample of the shards has a line. Texts come from
metadata that anyone could write: all of them are escaped.
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
    """The file's text.

    Args:
        title: of the set, as Markdown.
        titles: what an asset is called where it comes from, by uid; its category stands in.
    """
    creators = {
        name for asset in census.assets.values() for name in asset.creator.split(CREATORS) if name not in _NAMELESS
    }
    who = f"by {_counted(len(creators), 'named creator')}" if creators else "whose creators are not named"
    parts = [
        f"# Attribution for {title}\n",
        f"The images of this set show {_counted(len(census.assets), '3D model')} {who}. Changes that were made: models "
        "were scaled, placed in composed scenes with floors, walls and light, and rendered; the images are adaptations "
        "of every model that they show.\n",
        whole_licence(census),
        "An asset's own page says which version of its licence holds; links lead to the latest.\n",
    ]
    for licence in LICENSES:
        assets = [asset for asset in census.assets.values() if licence in licenses_of(asset.licence)]
        if assets:
            parts += [f"## {_heading(licence)}\n", _listed(assets, titles)]
    return "\n".join(parts)


def whole_licence(census: Census) -> str:
    """What may be said of the set as one, as Markdown paragraphs."""
    whole = combine(asset.licence for asset in census.assets.values())
    if whole.licence:
        version = "1.0" if whole.licence == "cc0" else "4.0"
        name = link(f"{label(whole.licence)} {version}", license_url(whole.licence))
        lines = [
            f"**Licence of the whole: {name}**, the freest that the licences of all models allow for one work that "
            "shows them. It speaks of what comes from the models; this is no legal advice."
        ]
    else:
        lines = [
            "**There is no licence under which the whole may be shared.** This is no legal advice.\n",
            *(f"- {problem}" for problem in whole.problems),
            *(f"- {_remedy(choice)}" for choice in whole.remedies),
        ]
    terms = {source.kind: source.terms for source in all_sources() if source.terms}
    notes = [f"\n{terms[name]}" for name in sorted(census.datasets) if name in terms]
    return "\n".join([*lines, *notes]) + "\n"


def _remedy(choice: Sequence[LicenseName]) -> str:
    ask = code(f"spatialdata shard OUT --recipe RECIPE --licenses {','.join(choice)}")
    return f"{ask} packs what may be shared under {label(combine(choice).licence or '')}"


def titles_of(build: Build, uids: Container[str]) -> dict[str, str]:
    """What the survey's plan calls these assets, by uid; empty where there is no survey, or it is gone."""
    kept = LayerStore(survey_folder(build.config, build.store), **build.store.options)
    titles: dict[str, str] = {}
    for digest in sorted(kept.names("")):
        try:
            plan = read_plan(LayerStore(f"{kept.url.rstrip('/')}/{digest}", **kept.options))
            rows = (row.spec for unit in range(plan.units) for row in plan.rows(unit))
            titles |= {spec["uid"]: spec["name"] for spec in rows if spec["uid"] in uids}
        except SpatialdataError:
            continue
    return titles


def source_page(asset: VisibleAsset) -> str:
    """Address of an asset's page; empty where it has none that is known."""
    return get_source(asset.dataset).asset_page(asset.uid) if asset.dataset in SOURCES else ""


def _heading(licence: str) -> str:
    return link(label(licence), license_url(licence)) if licence != "unknown" else "Licence unknown"


def _listed(assets: Sequence[VisibleAsset], titles: Mapping[str, str]) -> str:
    """One row an asset, by creator: those with most models first."""
    number = Counter(asset.creator for asset in assets)

    def order(asset: VisibleAsset) -> tuple[int, str, str, str]:
        return -number[asset.creator], asset.creator.casefold(), _title(asset, titles).casefold(), asset.uid

    terms = ["terms as named"] if any(asset.licence not in (*LICENSES, "") for asset in assets) else []
    rows = [
        [
            escape(asset.creator) if asset.creator not in _NAMELESS else "(not named)",
            escape(_title(asset, titles)) or "(no title)",
            link(asset.uid, source_page(asset)),
            *(escape(asset.licence) for _ in terms),
            asset.samples,
        ]
        for asset in sorted(assets, key=order)
    ]
    return table(["creator", "model", "asset", *terms, "samples"], rows)


def _title(asset: VisibleAsset, titles: Mapping[str, str]) -> str:
    return titles.get(asset.uid, "").strip() or asset.category


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
