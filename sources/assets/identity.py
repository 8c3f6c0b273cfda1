"""Finds uids that are the same model, whatever their file, unit, orientation or order of triangles.

The survey measures a description of each model separately. It has two parts: numbers of its surface, which are
invariant to rotation, mirroring, translation, scale, and the order and subdivision of its triangles; and numbers of its
colors. Descriptions are compared with a tolerance. Rounded values are never compared for equality, because rounding
can separate two values that are nearly equal.

- A *family* has one shape. Its members are in one split, because a chair in another color leaks the test set, too.
- A *model* has one shape and one look. No scene contains a model twice. The licenses and creators of its uids are
  named together.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...shards.colors import to_lab
from ...shards.licenses import join_licenses
from .asset import Asset
from .glb import Floats, is_gltf, open_glb

SHAPE_TOLERANCE: Final = 1e-3
"""For each number of a shape; these are about 1. Exporters that store 12 bits of a coordinate change them by a tenth
of the tolerance at most."""
LOOK_TOLERANCE: Final = 3.0
"""CIELAB units. Compressing a texture again changes its colors by much less."""
_SPREAD: Final = 0.25
"""Weight of standard deviations. Compression and downscaling smooth the grain of a texture, but keep its means."""
CREATORS: Final = "; "
"""Separator between the creators of a model."""
_DEDUPLICATION: Final = 50
"""Descriptions that are equal after rounding to the tolerance divided by this number are compared once."""
_GRID_DIMENSIONS: Final = 3
"""How many of the numbers are used to find candidates."""
_QUARTIC: Final = (
    (0.223381589678011, 0.108103018168070, 0.445948490915965),
    (0.109951743655322, 0.816847572980459, 0.091576213509771),
)
"""Weight and barycentric coordinates (the last one occurs twice) of points that integrate any quartic over a triangle
exactly: Dunavant, "High degree efficient symmetrical Gaussian quadrature rules for the triangle", 1985."""


@dataclass(frozen=True)
class Description:
    """What distinguishes a model from others."""

    content: str
    """First 32 hex digits of the SHA-256 of the file, or of a name that stands for its content."""
    shape: tuple[float, ...]
    """See `describe_shape`."""
    look: tuple[float, ...]
    """Mean and (weighted) standard deviation of the surface's CIELAB colors."""


def describe(content: str, corners: Floats, srgb: Floats) -> Description:
    """Describe a model.

    Args:
        content: see `Description.content`.
        corners: (N, 3 corners, 3) triangles.
        srgb: (M, 3), 0..1, colors of equal-area samples.
    """
    lab = to_lab(srgb)
    return Description(
        content,
        tuple(round(float(value), 6) for value in describe_shape(corners)),
        tuple(round(float(value), 3) for value in (*lab.mean(axis=0), *lab.std(axis=0) * _SPREAD)),
    )


def content_of(path: Path) -> str:
    """`Description.content` of a file, and of the files that a `.gltf` references. Raises GlbError for a broken one."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    if is_gltf(path):
        glb = open_glb(path)
        for uri in (item.get("uri") for name in ("buffers", "images") for item in glb.items(name)):
            if uri and not uri.startswith("data:"):
                digest.update(hashlib.sha256(glb.resource(uri)).digest())
    return digest.hexdigest()[:32]


def describe_shape(corners: Floats) -> Floats:
    """(13,) moments of the surface about its centroid, in units of its root mean square radius, and of its normals.

    Integrals are exact for any triangulation.
    """
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(normals, axis=1)
    weights = area / area.sum()
    normals = normals / np.maximum(area, 1e-300)[:, None]
    # (corner, axis, triangle): sums over a short last axis would take most of the time.
    ends = corners.transpose(1, 2, 0).copy()
    ends -= (ends.mean(axis=0) @ weights)[:, None]
    squares = (ends.sum(axis=0) ** 2).sum(axis=0) + (ends**2).sum(axis=(0, 1))
    ends /= np.sqrt(weights @ squares / 12)
    second, fourth, third, length = np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((3, 9)), 0.0
    for share, points in _quadrature_points(ends):
        squared = (points**2).sum(axis=0)
        weighted = points * (share * weights)
        second += weighted @ points.T
        third += weighted @ (points[:, None] * points).reshape(9, -1).T
        fourth += (weighted * squared) @ points.T
        length += share * float(weights @ squared**2)
    height = np.einsum("ni,in->n", normals, ends[0])
    axes = [np.linalg.eigvalsh(matrix) for matrix in (second, fourth, (normals * weights[:, None]).T @ normals)]
    skew = third.reshape(3, 3, 3).trace(axis1=1, axis2=2)
    scalars = [np.linalg.norm(third), np.linalg.norm(skew), np.sqrt(length), np.sqrt(weights @ height**2)]
    return np.concatenate([*(np.sqrt(np.maximum(values, 0)) for values in axes), scalars]).astype(np.float64)


def identify(assets: Sequence[Asset], descriptions: Sequence[Description]) -> list[Asset]:
    """The assets in their order, with `family` and `model` set.

    Families and models are named by the content of the member that sorts first. Assets of one model have the licenses
    and creators of all its members.
    """
    result = list(assets)
    for family in _groups(np.array([one.shape for one in descriptions]), SHAPE_TOLERANCE):
        name = min(descriptions[index].content for index in family)
        for places in _groups(np.array([descriptions[index].look for index in family]), LOOK_TOLERANCE):
            members = sorted((family[place] for place in places), key=lambda index: assets[index].uid)
            model = min(descriptions[index].content for index in members)
            licence = join_licenses(assets[index].licence for index in members)
            creators = dict.fromkeys(assets[index].creator for index in members if assets[index].creator)
            for index in members:
                result[index] = replace(
                    assets[index], family=name, model=model, licence=licence, creator=CREATORS.join(creators)
                )
    return result


def _groups(values: Floats, tolerance: float) -> list[list[int]]:
    """Indices of the rows (N, D), grouped: rows are linked if all their numbers differ by at most `tolerance`.

    Candidates share a cell of a grid. If two numbers are close, they share a cell in at least one of two grids that are
    half a cell apart. So two close rows share a cell in at least one of the grids of all such shifts.
    """
    _, first, inverse = np.unique(
        np.round(values * (_DEDUPLICATION / tolerance)).astype(np.int64), axis=0, return_index=True, return_inverse=True
    )
    distinct = values[first]
    parent = np.arange(len(distinct))
    cell = 8 * tolerance
    for shift in product((0.0, 0.5), repeat=min(_GRID_DIMENSIONS, values.shape[1])):
        cells = np.floor(distinct[:, : len(shift)] / cell + shift).astype(np.int64)
        _, number, count = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
        order = np.argsort(number.ravel(), kind="stable")
        for members in np.split(order, np.cumsum(count)[:-1]):
            for at, one in enumerate(members[:-1]):
                rest = members[at + 1 :]
                for other in rest[(np.abs(distinct[rest] - distinct[one]) <= tolerance).all(axis=1)]:
                    parent[_find_root(parent, int(other))] = _find_root(parent, int(one))
    roots = np.array([_find_root(parent, index) for index in range(len(distinct))], np.intp)[inverse.ravel()]
    order = np.argsort(roots, kind="stable")
    return [part.tolist() for part in np.split(order, np.flatnonzero(np.diff(roots[order])) + 1)]


def _find_root(parent: NDArray[np.intp], index: int) -> int:
    """Union-find with path halving."""
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = int(parent[index])
    return index


def _quadrature_points(ends: Floats) -> Iterator[tuple[float, Floats]]:
    """Six points (3, N) of each triangle, and their weight in the mean of a quartic over it; `ends`: (corner, 3, N)."""
    total = ends.sum(axis=0)
    for share, once, twice in _QUARTIC:
        for corner in ends:
            yield share, twice * total + (once - twice) * corner
