"""Edits that are proposed in furnished scenes: yields, cost, and how often each relation is brought about.

    python benchmarks/edits.py [--kinds room,tabletop] [--edits translate,insert] [--count 100] [--assets FOLDER]

Nothing is rendered. A yield is the share of first proposals that are valid in the forecast.
"""

import tempfile
import time
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import cast

import click
import shapely
from planned import KINDS, Build, settings_of

from spatialdata_builder.shards.schema import EditKind
from spatialdata_builder.sources.edits.furnished_destinations import sort_of
from spatialdata_builder.sources.edits.proposals import Rejection, propose
from spatialdata_builder.sources.scenes.footprints import footprint
from spatialdata_builder.sources.scenes.relations import at_walls, is_between
from spatialdata_builder.sources.scenes.spec import SceneSpec, State
from spatialdata_builder.sources.scenes.standing import MODEL, riders


def reached(spec: SceneSpec) -> set[str]:
    """What an edit brings about for its (first) object."""
    identity = spec.edit.object
    if not identity:
        return {"none of these"}
    before, after = spec.source.placements[identity], spec.target.placements[identity]
    old = before.standing if before.present else None
    found: set[str] = set()
    if after.standing and (not before.present or after.standing != old):
        on = after.standing
        in_model = on.object == MODEL
        found.add("on" if in_model else sort_of(on, spec.asset(on.object), spec.target.placements))
        if old:
            found.add("from surface to surface")
    if old and after.standing is None:
        found.add("off")
    walls = len(_walls(spec, spec.target))
    if walls > len(_walls(spec, spec.source)):
        found.add("wall" if walls == 1 else "corner")
    if _pairs(spec, spec.target) - _pairs(spec, spec.source):
        found.add("between")
    if any(riders(one, spec.source.placements) for one in spec.edit.edited):
        found.add("carries others")
    if spec.edit.second_object and old != after.standing:
        found.add("across levels")
    return found or {"none of these"}


def _walls(spec: SceneSpec, state: State) -> tuple[str, ...]:
    place = state.placements[spec.edit.object]
    if spec.room is None or place.standing or not place.present:
        return ()
    return at_walls(spec.room, spec.asset(spec.edit.object), place)


def _pairs(spec: SceneSpec, state: State) -> set[tuple[int, int]]:
    """The pairs of objects between which the edited object is."""
    own, places = spec.edit.object, state.placements
    level = {
        id: shapely.Polygon(footprint(spec.asset(id), place))
        for id, place in places.items()
        if place.present and place.standing == places[own].standing
    }
    if own not in level:
        return set()
    return {pair for pair in combinations(sorted(level.keys() - {own}), 2) if is_between(level, own, *pair)}


@click.command(help=__doc__)
@click.option("--kinds", default="room,tabletop,garden,environment", show_default=True)
@click.option("--edits", default="translate,rotate,scale,remove,insert,swap,camera", show_default=True)
@click.option("--count", default=100, show_default=True, help="scenes of each kind for each edit")
@click.option("--first", default=0, show_default=True, help="the first seed")
@click.option("--assets", default="", help="a folder in Objaverse's layout; default: procedural models")
@click.option("--plan", default="", help="folder where the plan is kept for the next run; default: a temporary one")
def main(kinds: str, edits: str, count: int, first: int, assets: str, plan: str) -> None:
    """Propose and count."""
    with tempfile.TemporaryDirectory() as scratch:
        build = Build.planned([*settings_of(assets), "render.resolution=256"], Path(plan or scratch))
        for kind in (kind for kind in KINDS if kind in kinds.split(",")):
            for edit in edits.split(","):
                relations: Counter[str] = Counter()
                faults: Counter[str] = Counter()
                spent = 0.0
                for seed in range(first, first + count):
                    candidates, furniture = build.candidates(seed)
                    settings = (build.options(kind), build.stage.render.resolution)
                    began = time.process_time()
                    found = propose(candidates, cast(EditKind, edit), *settings, seed, 0, furniture)
                    spent += time.process_time() - began
                    if isinstance(found, Rejection):
                        faults[found.reason] += 1
                    else:
                        relations.update(reached(found))
                share = 1 - faults.total() / count
                click.echo(f"{kind} {edit}: {share:.0%} valid, {spent / count * 1e3:.0f} ms")
                for name, counts in (("  brings about", relations), ("  rejected", faults)):
                    if counts:
                        click.echo(f"{name}: {', '.join(f'{one} {number}' for one, number in counts.most_common())}")


if __name__ == "__main__":
    main()
