"""Assets made on the spot: the embedded default, with no download.

A uid, `procedural-<kind>-<number>`, holds all that makes an asset: the same uid gives the same bytes, for ever and
everywhere. So kinds are never renamed; a kind that must change gets a new name.
"""

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from ...shards.errors import BadInput
from ..assets.asset import Asset
from ..assets.identity import Description, describe, identify
from ..assets.shape import fit, rotational_symmetry
from ..assets.surface_samples import SAMPLES, Surface, spread
from .glb import encode_glb, file_points, write_once
from .kinds import KINDS
from .model import Dice, Model
from .shapes import Floats, join

__all__ = ["KINDS", "catalogue", "make"]

MOST_VARIANTS: Final = 1000
_UID: Final = re.compile(r"procedural-([a-z-]+)-(\d{4,})")


def catalogue(variants: int = 24, seed: int = 0) -> list[Asset]:
    """The assets that a seed gives, `variants` of each kind, sorted by uid, measured from their meshes.

    Catalogues of different seeds have no asset in common.

    Raises:
        BadInput: `variants` is not 1 to 1000, or `seed` is negative.
    """
    if not 1 <= variants <= MOST_VARIANTS or seed < 0:
        raise BadInput(f"source.variants: {variants} (seed {seed}); allowed: 1 to {MOST_VARIANTS}, a seed from 0")
    return list(_catalogue(variants, seed))


def make(uid: str, folder: Path) -> Path:
    """Write an asset's GLB to `folder/<uid>.glb`, unless it is there, and return its path. Safe to race.

    Raises:
        BadInput: no such uid.
    """
    kind, number = _parse(uid)
    path = folder / f"{uid}.glb"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_once(encode_glb(_build(kind, number)), path)
    return path


@lru_cache(maxsize=4)
def _catalogue(variants: int, seed: int) -> tuple[Asset, ...]:
    first = seed * MOST_VARIANTS
    uids = sorted(f"procedural-{kind}-{number:04d}" for kind in KINDS for number in range(first, first + variants))
    models = [_build(*_parse(uid)) for uid in uids]
    described = [_describe(uid, model) for uid, model in zip(uids, models, strict=True)]
    return tuple(identify([_measure(uid, model) for uid, model in zip(uids, models, strict=True)], described))


def _parse(uid: str) -> tuple[str, int]:
    """Kind and number."""
    match = _UID.fullmatch(uid)
    if match is None or match[1] not in KINDS:
        raise BadInput(f"no procedural asset '{uid}': a uid is procedural-<kind>-<number>, kinds {', '.join(KINDS)}")
    return match[1], int(match[2])


def _build(kind: str, number: int) -> Model:
    return KINDS[kind](Dice(int.from_bytes(kind.encode(), "big"), number))


def _symmetry(model: Model, centre: Floats) -> int:
    if model.symmetry is not None:
        return model.symmetry
    if model.front_deg is not None or not model.rotatable:
        return 1
    return rotational_symmetry(_surface(model), centre)


def _surface(model: Model) -> Surface:
    """The model as the survey samples a file, each part in its one colour."""
    mesh = join([part.mesh for part in model.parts])
    colours = np.array([part.material.rgb for part in model.parts], np.float64)
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    across = np.cross(b - a, c - a)
    length = np.linalg.norm(across, axis=1)
    ends = np.cumsum(length / 2)
    numbers = np.arange(SAMPLES)
    triangle = np.searchsorted(ends, (numbers + 0.5) / SAMPLES * ends[-1], side="right")
    return Surface(
        points=np.einsum("nk,nki->ni", spread(numbers), mesh.vertices[mesh.faces[triangle]]),
        normals=across[triangle] / length[triangle, None],
        srgb=np.repeat(colours, [len(part.mesh.faces) for part in model.parts], axis=0)[triangle],
        area=float(ends[-1]),
        coloured=1.0,
    )


def _describe(uid: str, model: Model) -> Description:
    """By its uid, which stands for its bytes."""
    meshes = [part.mesh for part in model.parts]
    corners = np.concatenate([mesh.vertices[mesh.faces] for mesh in meshes])
    return describe(hashlib.sha256(uid.encode()).hexdigest()[:32], corners, _surface(model).srgb)


def _measure(uid: str, model: Model) -> Asset:
    points = np.concatenate([file_points(part.mesh.vertices) for part in model.parts])
    stands = fit(np.stack([points[:, 0], -points[:, 2], points[:, 1]], axis=1), 1.0)
    return Asset(
        uid=uid,
        path=uid,
        category=uid.split("-", 1)[1].rsplit("-", 1)[0].replace("-", " "),
        colour=model.colour,
        licence="cc0",
        creator="spatialdata",
        scale=stands.scale,
        offset=stands.offset,
        size_m=stands.size_m,
        footprint=stands.footprint,
        triangles=sum(len(part.mesh.faces) for part in model.parts),
        contact=stands.contact,
        front_deg=model.front_deg,
        rotatable=model.rotatable,
        symmetry=_symmetry(model, -np.array(stands.offset[:2])),
        supports=model.supports,
        opening=model.opening,
    )
