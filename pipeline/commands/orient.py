"""Determine the front and the name of each asset of a source, from portraits and votes, into one file.

Invariant: an asset with an entry in the file is not asked about again. The next run reuses portraits and answers of a
stopped run (two layers under `OUT/orient`, and the request cache). The file is written in one piece.
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
from ...shards.geometry import wrap_degrees
from ...shards.layout import base, join
from ...shards.options import with_new_keys
from ...shards.stage import Stage
from ...sources.assets.asset import Asset
from ...sources.assets.orientations import (
    ORIENTATIONS,
    Orientation,
    encode_orientations,
    front_status,
    read_orientations,
)
from ...sources.registry import all_sources, get_source
from ...sources.rendered.portraits import SIDE, RenderPortraits, portrait_options, portrait_spec
from ...sources.source import SceneSource
from ..config import Config, nearest
from ..engine.progress import make_progress
from ..engine.render_device import gpus_of, resolve_device, with_resolved_device
from ..engine.run import run, session
from ..interrupts import interruptible
from ..opened import open_out
from ..planning.survey import asset_key, find_assets, read_planned, rebuild_damaged
from ..store.fingerprints import canonical, layer_dirs
from ..store.layers import LayerStore, versions
from ..store.lock import RunLock
from ..store.plan import Plan, PlanRow, write_plan
from ..store.storage import Storage
from ..terminal import say
from .build import check_packages

UNIT: Final = 16
"""Assets per unit: with three votes, 48 questions at once."""
NEAR: Final = 22.5
"""A voted front counts as right within this many degrees of the known one: half a step between views."""
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
    """Ask about every usable asset of the source that has no entry in the file yet. Resumes after a stop.

    Args:
        out: folder for portraits and answers; can be the OUT of a build.
        to: path or URL of the file; empty: `orientations.json` in an Objaverse root if that is writable, else in OUT.
        side: pixels of a view; the model is shown eight of them in two rows.

    Returns:
        `to`; counts `assets`, `asked`, `known`, `unknown`, `undistinguishable`, `failed`; `reasons` of failed assets;
        and, for fronts that the source itself knows (procedural assets), how many votes are `right` and `wrong`.

    Raises:
        BadInput: a source without 3D models, an option that does not exist, a file that cannot be read.
        Stopped: on Ctrl-C and SIGTERM; the file is unchanged, and the next run reuses portraits and answers.
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
        if not table:  # a new file starts with the manual entries of the root
            given = source.orientations(config.source)
            table = {uid: entry for uid, entry in given.items() if not entry.model}
        assets = find_assets(config, store, say, make_progress(quiet))
        todo = [asset for asset in assets if asset.uid not in table]
        reasons: Mapping[str, int] = {}
        if todo:
            say(f"asking {vote.model} about {len(todo)} of {len(assets)} assets")
            resolve_device(config, store)
            place = source.place(config.source, config.render)
            job = _plan(config, place, store, vote, side, todo)
            # Written only after all answers. With some of them in the file, the next run would plan other assets, and
            # rerender those that this run had rendered but not asked about.
            found, reasons = rebuild_damaged(
                job.store,
                lambda: run(job.stages, job.store, job.plan, config.engine, make_progress(quiet), guard=lock.check),
                job.collect,
                say,
            )
            table |= found
            file.write(encode_orientations(table))
    return {"to": str(file), **count_fronts(assets, table), "asked": len(todo), "reasons": dict(reasons)}


def make_vote(config: Config, options: Mapping[str, Any], out: str) -> VlmOrientation:
    """The stage that asks the model. Raises BadInput for an unknown option or a bad value."""
    try:
        options = with_new_keys(options, VlmOrientation.renamed)
    except ValueError as error:
        raise BadInput(f"orient: {error}") from None
    own = [field.name for field in dataclasses.fields(VlmOrientation) if field.init and field.name != "colours"]
    for option in options:
        if option not in own:
            raise BadInput(f"unknown key 'orient.{option}'{nearest(option, own)}; allowed: {', '.join(sorted(own))}")
    own_arguments = {"colours": tuple(PALETTE)} | _resources(config, VlmOrientation.layer)
    try:
        return TypeAdapter(VlmOrientation).validate_python({"answers": join(out, ANSWERS), **options, **own_arguments})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"orient.{where}: {first['msg']} (got {first['input']!r})") from None


@dataclass(frozen=True)
class _File:
    """The orientation file and its folder."""

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
    """Portraits of the assets to ask about, and the votes: two layers of a separate plan."""

    store: LayerStore
    plan: Plan
    stages: tuple[Stage, Stage]
    assets: Mapping[str, Asset]
    """By key."""

    def collect(self) -> tuple[dict[str, Orientation], dict[str, int]]:
        """The answers so far, by uid, and the number of rejects by reason."""
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
    config: Config, place: str, store: LayerStore, vote: VlmOrientation, side: int, assets: Sequence[Asset]
) -> _Job:
    render = portrait_options(with_resolved_device(config, store), side)
    resources = {"cpus": 1.0, "gpus": gpus_of(render)} | _resources(config, RenderPortraits.layer)
    portraits = RenderPortraits(
        config.source.kind,
        place,
        render,
        # Inline, one Blender uses the whole machine.
        threads=os.cpu_count() or 1 if config.engine.kind == "inline" else 0,
        cpus=resources["cpus"],
        gpus=resources["gpus"],
    )
    by_key = {asset_key(asset.uid): asset for asset in assets}
    rows = [PlanRow(key, "train", portrait_spec(asset)) for key, asset in by_key.items()]
    # Other package versions may give other pixels: they start a new plan instead of resuming.
    content = [dict(versions()), [row.spec for row in rows]]
    digest = hashlib.sha256(canonical(content).encode()).hexdigest()[:16]
    kept = LayerStore(join(store.url, "orient", digest), **store.options)
    return _Job(kept, write_plan(kept, {"orient": digest}, rows, UNIT), (portraits, vote), by_key)


def _entry(asset: Asset, answer: str) -> Orientation:
    """The vote on an asset, unless its shape contradicts it: a rotationally symmetric asset has no front."""
    entry = Orientation.model_validate_json(answer)
    if asset.rotatable and asset.symmetry == 1:
        return entry
    return entry.model_copy(update={"front_deg": None, "distinguishable": False})


def count_fronts(assets: Sequence[Asset], table: Mapping[str, Orientation]) -> dict[str, int]:
    """Counts of the table's entries, and how often they are `right` for assets whose front the source knows."""
    entries = {asset.uid: table[asset.uid] for asset in assets if asset.uid in table}
    kinds = Counter(front_status(entry) for entry in entries.values())
    matches = [
        abs(wrap_degrees(front - asset.front_deg)) < NEAR
        for asset in assets
        if asset.front_deg is not None and (entry := entries.get(asset.uid)) and (front := entry.front_deg) is not None
    ]
    return {
        "assets": len(assets),
        "known": kinds["known"],
        "unknown": kinds["unknown"],
        "undistinguishable": kinds["undistinguishable"],
        "failed": len(assets) - len(entries),
        "right": sum(matches),
        "wrong": len(matches) - sum(matches),
    }


def _resources(config: Config, layer: str) -> dict[str, float]:
    """The configured `engine.resources` of a layer."""
    asked = {str(name): resources for name, resources in config.engine.resources.items()}.get(layer)
    values = {"cpus": asked.cpus, "gpus": asked.gpus} if asked else {}
    return {name: value for name, value in values.items() if value is not None}


def _say(quiet: bool) -> Callable[[str], None]:
    return (lambda _: None) if quiet else (lambda text: say(text, err=True))
