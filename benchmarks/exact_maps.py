"""Maps of rendered scenes against an independent ray caster on the same triangles, and `changed` against the pixels.

    python benchmarks/exact_maps.py [--kinds room,tabletop,garden] [--count 4] [--side 256] [--assets FOLDER]

Of each seed and kind, source and target of the first valid proposal of a translation. Depth and normals: median errors
of the pixels away from edges. IoU: of each object that covers at least 200 pixels, except for two cases that the ray
caster cannot decide: objects with see-through materials, because it has no textures, and objects whose mask depends on
the backs of single-sided materials. `not equal outside`: values of pixels outside `changed` that differ between source
and target; there must be none. `contents`: how often the scenes have stacks, shelves, things in containers and under
tables, and things that physics let come to rest.
"""

import tempfile
from collections import Counter
from collections.abc import Collection
from functools import partial
from pathlib import Path

import click
import numpy as np
import trimesh
from meshes import Solids
from planned import KINDS, Build, settings_of

from spatialdata_builder.shards.geometry import matrix4, transform
from spatialdata_builder.sources.assets.glb import open_glb
from spatialdata_builder.sources.blender.render import RenderedView
from spatialdata_builder.sources.changed_region import find_changed
from spatialdata_builder.sources.scenes.footprints import pose_of
from spatialdata_builder.sources.scenes.spec import Placement, SceneSpec, State
from tests.sources.blender.test_render import Cast, cast

_LEAST_PX = 200


def is_opaque(file: Path) -> bool:
    """Whether no material of a model says that it may be seen through."""
    return all(material.get("alphaMode", "OPAQUE") == "OPAQUE" for material in open_glb(file).items("materials"))


def is_single_sided(file: Path) -> bool:
    """Whether all materials of a model are seen from their front only."""
    return not any(material.get("doubleSided", False) for material in open_glb(file).items("materials"))


def mesh_as_seen(solids: Solids, single: Collection[int], state: State, spec: SceneSpec, id: int, place: Placement):
    """The mesh of an object, world frame; of one whose materials are single-sided (`single`), the faces whose fronts
    the camera may see."""
    one = solids.of(spec.asset(id))
    mesh = trimesh.Trimesh(transform(pose_of(place), one.vertices), one.faces, process=False)
    if id not in single:
        return mesh
    eye = matrix4(state.camera.world_from_camera)[:3, 3]
    front = ((eye - mesh.triangles_center) * mesh.face_normals).sum(axis=1) > 0
    return trimesh.Trimesh(mesh.vertices, mesh.faces[front], process=False)


def compare(
    spec: SceneSpec, view: RenderedView, truth: Cast, fronts: Cast, opaque: Collection[int]
) -> dict[str, float]:
    """Errors of the maps of one image.

    Args:
        fronts: without the backs of single-sided materials.
        opaque: ids of the objects whose masks may be compared.
    """
    inner = truth.inner & (truth.depth > 0) & (truth.depth == fronts.depth)
    cosine = np.clip((view.normal * truth.normal).sum(-1)[inner], -1, 1)
    ious: dict[int, float] = {}
    for placed in spec.objects:
        ours, theirs, front = (one.instances == placed.id for one in (view, truth, fronts))
        if placed.id in opaque and theirs.sum() >= _LEAST_PX and (theirs == front).all():
            ious[placed.id] = float((ours & theirs).sum() / (ours | theirs).sum())
    return {
        "depth mm": 1e3 * float(np.median(np.abs(view.depth - truth.depth)[inner])),
        "normal deg": float(np.median(np.rad2deg(np.arccos(cosine)))),
        "least IoU": min(ious.values(), default=1.0),
        "compared": len(ious),
        "object": min(ious, key=lambda id: ious[id], default=0),
        "inner": float(inner.mean()),
        "surface": float(((view.depth > 0) == (truth.depth > 0)).mean()),
    }


def contents(spec: SceneSpec) -> list[str]:
    """What stands where, in the words of `Standing.kind`."""
    places = spec.source.placements
    found = [place.standing.kind for place in places.values() if place.standing]
    on = {place.standing.object: id for id, place in places.items() if place.standing}
    stacked = sum(place.standing is not None and id in on for id, place in places.items())
    return [*map(str, found), *["stacked"] * stacked, *["settled" for place in places.values() if place.settled]]


@click.command(help=__doc__)
@click.option("--kinds", default="room,tabletop,garden", show_default=True)
@click.option("--count", default=4, show_default=True, help="scenes of each kind")
@click.option("--first", default=0, show_default=True, help="the first seed")
@click.option("--side", default=256, show_default=True)
@click.option("--samples", default=4, show_default=True)
@click.option("--assets", default="", help="a folder in Objaverse's layout; default: procedural models")
@click.option("--plan", default="", help="folder where the plan is kept for the next run; default: a temporary one")
def main(kinds: str, count: int, first: int, side: int, samples: int, assets: str, plan: str) -> None:
    """Render, cast and compare."""
    with tempfile.TemporaryDirectory() as scratch:
        given = [*settings_of(assets), f"render.resolution={side}", f"render.samples={samples}"]
        build = Build.planned(given, Path(plan or scratch))
        solids = Solids(build.mesh_of)

        with build.worker.renderer as renderer:
            for kind in (kind for kind in KINDS if kind in kinds.split(",")):
                rows: list[dict[str, float]] = []
                held: Counter[str] = Counter()
                differing = 0
                for seed in range(first, first + count):
                    spec = build.propose(kind, "translate", seed)
                    if spec is None:
                        continue
                    files = build.files(spec)
                    opaque = {id for id, file in files.items() if is_opaque(file)}
                    single = {id for id, file in files.items() if is_single_sided(file)}
                    renderer.open(spec, files)
                    states: tuple[State, State] = (spec.source, spec.target)
                    source, target = (renderer.render(state) for state in states)
                    for view, state in zip((source, target), states, strict=True):
                        truth, fronts = (
                            cast(spec, state, partial(mesh_as_seen, solids, ids, state)) for ids in ((), single)
                        )
                        rows.append(compare(spec, view, truth, fronts, opaque))
                        worst = rows[-1].pop("object")
                        name = spec.asset(int(worst)).category if worst else ""
                        line = "  ".join(f"{key} {value:.4g}" for key, value in rows[-1].items())
                        click.echo(f"{kind:12}{seed:<5}{line} ({name})")
                    changed = find_changed(source, target, spec.moved)
                    differing += int((changed.target_rgb[~changed.mask] != source.rgb[~changed.mask]).sum())
                    held.update(contents(spec))
                if not rows:
                    click.echo(f"{kind}: no valid proposal")
                    continue
                table = {key: np.array([row[key] for row in rows]) for key in rows[0]}
                worst = {key: of.max() if key in ("depth mm", "normal deg") else of.min() for key, of in table.items()}
                line = ", ".join(f"{key} {np.median(of):.4g} (worst {worst[key]:.4g})" for key, of in table.items())
                click.echo(f"{kind}: {len(rows)} images: {line}; not equal outside: {differing}; contents {dict(held)}")


if __name__ == "__main__":
    main()
