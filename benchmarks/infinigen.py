"""What `spatialdata assets infinigen` made: cost, size, and what the asset survey says about it; optionally a picture.

    python benchmarks/infinigen.py CACHE [--sheet SHEET.png] [--azimuths 0,45] [--only WORD,...] [--side 160]

Prints medians of CPU seconds, megabytes and triangles of the assets; how many the survey accepts, the reasons for the
others; how many keep the size that was recorded; of those that may carry things, how many have a support; and how many
fronts agree with those that supports tell. The sheet shows each accepted asset from the given directions, degrees from
its front.
"""

import argparse
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from pydantic import TypeAdapter

from spatialdata_builder.shards.geometry import wrap_degrees
from spatialdata_builder.shards.sample import Reject, Row, Sample
from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.assets.carriers import AssetSupports, may_carry
from spatialdata_builder.sources.assets.supports import from_json
from spatialdata_builder.sources.blender.render import Renderer
from spatialdata_builder.sources.infinigen.cache import read_records
from spatialdata_builder.sources.models.catalog import ModelEntry, list_models
from spatialdata_builder.sources.rendered.portraits import portrait_options, portrait_scene
from spatialdata_builder.sources.rendered.supports import FindSupports
from spatialdata_builder.sources.scenes.spec import RenderOptions
from spatialdata_builder.sources.survey.appearance import MeasureAppearance
from spatialdata_builder.sources.survey.geometry import SurveyAssets

ASSET = TypeAdapter(Asset)
LABEL = 32
"""Height of the text below a picture, pixels."""


@dataclass
class Surveyed:
    entry: ModelEntry
    asset: Asset | None
    reason: str
    supports: AssetSupports


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--azimuths", default="0")
    parser.add_argument("--only", default="")
    parser.add_argument("--side", type=int, default=160)
    arguments = parser.parse_args()
    root = arguments.cache.absolute()
    words = [word for word in arguments.only.split(",") if word]
    entries = [
        entry
        for entry in list_models(root, "", "", print)
        if not words or any(word in f"{entry.uid} {entry.category}" for word in words)
    ]
    report_records(root)
    found = survey(root, entries)
    report(found)
    if arguments.sheet:
        azimuths = [int(text) for text in arguments.azimuths.split(",")]
        cv2.imwrite(str(arguments.sheet), sheet(root, found, azimuths, arguments.side)[..., ::-1])


def report_records(root: Path) -> None:
    records = read_records(root).values()
    kept = [record for record in records if not record.reason]
    for name, values in (
        ("CPU s", [record.cpu_s for record in kept]),
        ("MB", [record.bytes / 1e6 for record in kept]),
        ("triangles", [record.triangles for record in kept]),
        ("triangles before reduction", [record.made_triangles for record in kept]),
    ):
        low, middle, high = np.percentile(values, (10, 50, 90))
        spread = f"10 to 90 % {low:.3g} to {high:.3g}, mean {np.mean(values):.3g}, maximum {max(values):.3g}"
        print(f"{name}: median {middle:.3g}, {spread}")
    failed = Counter(record.reason for record in records if record.reason)
    print(f"{len(kept)} assets of {len({record.factory for record in kept})} factories; failed: {dict(failed)}")


def survey(root: Path, entries: list[ModelEntry]) -> list[Surveyed]:
    place = json.dumps({"root": str(root), "cache": "", "blender": "", "timeout_s": 300.0})
    licenses = tuple({entry.licence for entry in entries})
    geometry = SurveyAssets("models", place, licences=licenses)
    appearance = MeasureAppearance("models", place, licences=licenses, threads=1)
    finder = FindSupports(source="models", place=place)
    folder, booth, files = geometry.setup(), appearance.setup(), finder.setup()
    found: list[Surveyed] = []
    for entry in entries:
        (row,) = geometry(folder, [Sample(entry.uid, "train", entry.spec())])
        if isinstance(row, Row):
            (row,) = appearance(booth, [Sample(entry.uid, "train", entry.spec(), {"survey": row.columns})])
        if isinstance(row, Reject):
            found.append(Surveyed(entry, None, f"{row.reason}: {row.detail}", AssetSupports()))
            continue
        asset = ASSET.validate_json(str(row.columns["asset"]))
        (row,) = finder(files, [Sample(entry.uid, "train", json.loads(ASSET.dump_json(asset)))])
        geometric = from_json(str(row.columns["supports"])) if isinstance(row, Row) else ()
        reason = "" if isinstance(row, Row) else f"no supports: {row.reason}"
        found.append(Surveyed(entry, asset, reason, AssetSupports.of(asset.category, asset.size_m, geometric)))
    booth.renderer.close()
    return found


def report(found: list[Surveyed]) -> None:
    accepted = [one for one in found if one.asset is not None]
    print(f"{len(accepted)} of {len(found)} accepted by the survey")
    for one in found:
        if one.reason:
            print(f"  {one.entry.uid} {one.entry.category}: {one.reason}")
    resized = [
        one
        for one in accepted
        if one.asset and not np.isclose(max(one.asset.size_m), max(one.entry.size_m or (0,)), rtol=0.02)
    ]
    print(f"{len(resized)} have another size than recorded: {', '.join(one.entry.uid for one in resized) or '-'}")
    carriers = [one for one in accepted if one.asset and may_carry(one.asset.category)]
    without = [one.entry.uid for one in carriers if not one.supports.supports]
    named = ", ".join(without) or "-"
    print(f"{len(carriers) - len(without)} of {len(carriers)} that may carry have supports; not: {named}")
    fronts = [
        one for one in accepted if one.supports.furniture_front_deg is not None and one.entry.front_deg is not None
    ]
    wrong = [one for one in fronts if abs(wrap_degrees(one.supports.furniture_front_deg - one.entry.front_deg)) > 1]
    text = ", ".join(f"{one.entry.uid} ({one.supports.furniture_front_deg:g})" for one in wrong)
    print(f"{len(fronts) - len(wrong)} of {len(fronts)} fronts agree with supports; not: {text or '-'}")


def sheet(root: Path, found: list[Surveyed], azimuths: list[int], side: int) -> np.ndarray:
    """Pictures of the accepted assets in rows, sRGB."""
    renderer = Renderer(portrait_options(RenderOptions(device="cpu"), side), threads=1)
    tiles: list[np.ndarray] = []
    for one in found:
        if (asset := one.asset) is None:
            continue
        spec, states = portrait_scene(asset, side)
        renderer.open(spec, {1: root / asset.path})
        front = 45 * round((one.entry.front_deg or 0.0) / 45)
        views = [renderer.render(states[(front + azimuth) % 360]).rgb for azimuth in azimuths]
        label = np.full((LABEL, side * len(views), 3), 255, np.uint8)
        kinds = ",".join(sorted({support.kind for support in one.supports.supports}))
        lines = (
            f"{one.entry.uid.removesuffix('.glb').replace('Factory', '')}",
            "{:.2f} {:.2f} {:.2f} ".format(*asset.size_m) + kinds,
        )
        for index, line in enumerate(lines):
            cv2.putText(label, line, (2, 12 + 15 * index), cv2.FONT_HERSHEY_SIMPLEX, 0.37, (0, 0, 0), 1, cv2.LINE_AA)
        tiles.append(np.concatenate([np.concatenate(views, axis=1), label]))
    renderer.close()
    columns = max(1, 10 // len(azimuths))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[start : start + columns], axis=1) for start in range(0, len(tiles), columns)]
    return np.concatenate(rows)


if __name__ == "__main__":
    main()
