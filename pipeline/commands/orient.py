"""Which way the assets of a root face and what they are called: portraits, a vote, one file.

Invariant: an asset that the file answers for is not asked about again; what was rendered or answered when a run ended
is found again by the next (two layers under `OUT/orient`, and the request cache), and the file is written whole.
"""

import dataclasses
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from ...annotators.orientation import VlmOrientation
from ...shards.colors import PALETTE
from ...shards.errors import BadInput
from ...shards.geometry import wrapped
from ...shards.layout import base, join
from ...shards.stage import Stage
from ...sources.assets.asset import Asset
from ...sources.assets.orientations import (
    ORIENTATIONS,
    Orientation,
    encode_orientations,
    kind_of,
    read_orientations,
)
from ...sources.registry import all_sources, get_source
from ...sources.rendered.portraits import SIDE, RenderPortraits, portrait_options, portrait_spec
from ...sources.source import SceneSource
from ..config import Config, nearest
from ..engine.progress import make_progress
from ..engine.render_device import gpus_of, settle, settled
from ..engine.run import run, session
from ..interrupts import interruptible
from ..opened import open_out
from ..planning.survey import asset_key, find_assets, mended, read_planned
from ..store.fingerprints import canonical, layer_dirs
from ..store.layers import LayerStore, versions
from ..store.lock import RunLock
from ..store.plan import Plan, PlanRow, write_plan
from ..store.storage import Storage
from ..terminal import say
from .build import check_packages

UNIT: Final = 16
"""Assets of one unit: with three votes 48 questions at once."""
NEAR: Final = 22.5
"""Degrees within which a named front is the one that was known: half a step between views."""
ANSWERS: Final = "answers"


@interruptible()
def run_orient(
    config: Config,
    out: str,
    *,
    to: str = "",
    side: int = SIDE,
    quiet: bool = False,
) -> dict[str, Any]:
    """Ask about every usable asset of the source that the file does not answer for yet. Goes on where it was stopped.

    Args:
        out: where portraits and answers are kept; the OUT of a build may serve.
        to: path or URL of the file; empty: `orientations.json` in an Objaverse root where that can be written, else in
            OUT.
        side: pixels of a view; the model is shown eight of them in two rows.

    Returns:
        `to`; counts `assets`, `asked`, `known`, `unknown`, `undistinguishable`, `failed`; `reasons` of what failed; and
        of the named fronts that the source knew before (procedural assets), how many are `right` and `wrong`.

    Raises:
        BadInput: a source without 3D models, an option that does not exist, a file that cannot be read.
        Stopped: on Ctrl-C and SIGTERM; the file is as it was, and what was rendered and answered is found again.
    """
    source = get_source(config.source.kind)
    if not isinstance(source, SceneSource):
        others = sorted(source.kind for source in all_sources() if isinstance(source, SceneSource))
        raise BadInput(
            f"source.kind: {source.kind} has images, no 3D models to orient: set it to {' or '.join(others)}"
        )
    check_packages(config.engine)
    store = open_out(out)
    vote = make_vote(config, config.orient, store.url)
    say = _say(quiet)
    with RunLock(store) as lock, session(config.engine):
        root = source.root(config.source)
        file = _target(root, store, to)
        table = file.read()
        if not table:  # a new one begins with what people wrote into the root's own
            given = source.orientations(config.source)
            table = {uid: entry for uid, entry in given.items() if not entry.model}
        assets = find_assets(config, store, say, make_progress(quiet))
        todo = [asset for asset in assets if asset.uid not in table]
        reasons: Mapping[str, int] = {}
        if todo:
            say(f"asking {vote.model} about {len(todo)} of {len(assets)} assets")
            settle(config, store)
            job = _plan(config, root, store, vote, side, todo)
            # Only then: with a part of the answers in the file the next run would have another plan, and render anew
            # what this one had rendered and not asked about.
            found, reasons = mended(
                job.store,
                lambda: run(job.stages, job.store, job.plan, config.engine, make_progress(quiet), guard=lock.check),
                job.collect,
                say,
            )
            table |= found
            file.write(encode_orientations(table))
    return {"to": str(file), **count_fronts(assets, table), "asked": len(todo), "reasons": dict(reasons)}


def make_vote(config: Config, options: Mapping[str, Any], out: str) -> VlmOrientation:
    """The stage that asks. Raises BadInput for an option that does not exist or has a bad value."""
    own = [field.name for field in dataclasses.fields(VlmOrientation) if field.init and field.name != "colours"]
    for option in options:
        if option not in own:
            raise BadInput(f"unknown key 'orient.{option}'{nearest(option, own)}; allowed: {', '.join(sorted(own))}")
    settled_here = {"colours": tuple(PALETTE)} | _resources(config, VlmOrientation.layer)
    try:
        return TypeAdapter(VlmOrientation).validate_python({"answers": join(out, ANSWERS), **options, **settled_here})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"orient.{where}: {first['msg']} (got {first['input']!r})") from None


@dataclass(frozen=True)
class _File:
    """The orientation file, in a folder that it is written to whole."""

    folder: Storage
    name: str

    def __str__(self) -> str:
        return join(str(self.folder), self.name)

    def read(self) -> dict[str, Orientation]:
        return read_orientations(str(self)) if self.folder.exists(self.name) else {}

    def write(self, data: bytes) -> None:
        self.folder.write_file(self.name, data)


def _target(root: str, store: LayerStore, to: str) -> _File:
    if to:
        if not to.endswith(".json"):
            raise BadInput(f"--to {to}: give a path or URL that ends in .json")
        url = to if "://" in to else str(Path(to).expanduser().absolute())
        return _File(Storage(url.rpartition("/")[0]), base(url))
    if root and os.access(root, os.W_OK):
        return _File(Storage(root), ORIENTATIONS)
    return _File(store, ORIENTATIONS)


@dataclass(frozen=True)
class _Job:
    """Portraits of the assets that are asked about, and the vote: two layers of a plan of their own."""

    store: LayerStore
    plan: Plan
    stages: tuple[Stage, Stage]
    assets: Mapping[str, Asset]
    """By key."""

    def collect(self) -> tuple[dict[str, Orientation], dict[str, int]]:
        """What is answered so far, by uid, and the rejects by reason."""
        folders = layer_dirs(self.stages)
        answered = folders[VlmOrientation.layer]
        found = {
            self.assets[key].uid: _entry(self.assets[key], str(row["orientation"]))
            for unit in range(self.plan.units)
            for key, row in read_planned(self.store, answered, unit, self.plan.keys(unit)).items()
        }
        rejects = (
            reject for folder in folders.values() for record in self.store.records(folder) for reject in record.rejects
        )
        return found, dict(sorted(Counter(reject.reason for reject in rejects).items()))


def _plan(
    config: Config, root: str, store: LayerStore, vote: VlmOrientation, side: int, assets: Sequence[Asset]
) -> _Job:
    render = portrait_options(settled(config, store), side)
    resources = {"cpus": 1.0, "gpus": gpus_of(render)} | _resources(config, RenderPortraits.layer)
    portraits = RenderPortraits(
        config.source.kind,
        root,
        render,
        # Inline, one Blender has the machine to itself.
        threads=os.cpu_count() or 1 if config.engine.kind == "inline" else 0,
        cpus=resources["cpus"],
        gpus=resources["gpus"],
    )
    by_key = {asset_key(asset.uid): asset for asset in assets}
    rows = [PlanRow(key, "train", portrait_spec(asset)) for key, asset in by_key.items()]
    # Other packages may give other pixels: they begin anew rather than go on with what others made.
    content = [dict(versions()), [row.spec for row in rows]]
    digest = hashlib.sha256(canonical(content).encode()).hexdigest()[:16]
    kept = LayerStore(join(store.url, "orient", digest), **store.options)
    return _Job(kept, write_plan(kept, {"orient": digest}, rows, UNIT), (portraits, vote), by_key)


def _entry(asset: Asset, answer: str) -> Orientation:
    """The vote on an asset, unless its shape speaks against it: a front that a turn shows again is none."""
    entry = Orientation.model_validate_json(answer)
    if asset.rotatable and asset.symmetry == 1:
        return entry
    return entry.model_copy(update={"front_deg": None, "distinguishable": False})


def count_fronts(assets: Sequence[Asset], table: Mapping[str, Orientation]) -> dict[str, int]:
    """What the table says of the assets, and how often it is `right` where the source knows a front itself."""
    entries = {asset.uid: table[asset.uid] for asset in assets if asset.uid in table}
    kinds = Counter(kind_of(entry) for entry in entries.values())
    told = [
        abs(wrapped(front - asset.front_deg)) < NEAR
        for asset in assets
        if asset.front_deg is not None and (entry := entries.get(asset.uid)) and (front := entry.front_deg) is not None
    ]
    return {
        "assets": len(assets),
        "known": kinds["known"],
        "unknown": kinds["unknown"],
        "undistinguishable": kinds["undistinguishable"],
        "failed": len(assets) - len(entries),
        "right": sum(told),
        "wrong": len(told) - sum(told),
    }


def _resources(config: Config, layer: str) -> dict[str, float]:
    """What `engine.resources` says of a layer of this pass."""
    asked = {str(name): resources for name, resources in config.engine.resources.items()}.get(layer)
    values = {"cpus": asked.cpus, "gpus": asked.gpus} if asked else {}
    return {name: value for name, value in values.items() if value is not None}


def _say(quiet: bool) -> Callable[[str], None]:
    return (lambda _: None) if quiet else (lambda text: say(text, err=True))
