"""Which models are one, whatever their uid, file, unit, orientation or order of triangles.

Each model has a description that the survey measures on its own: numbers of its surface that no rotation, mirroring,
move or scale changes, nor the order or the cut of its triangles; and numbers of its colors. Descriptions are compared
by tolerance, never by equality of rounded values, so that no rounding parts two that are equal.

- One *family* has one shape. Its members are in one split: a chair painted another color gives the test away, too.
- One *model* has one shape and one look. A scene holds no model twice; the licenses and creators of its uids are
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
from ...shards.licenses import joined
from .asset import Asset
from .glb import Floats

SHAPE_TOLERANCE: Final = 1e-3
"""Of each number of a shape, which are about 1. Exporters that store 12 bits of a coordinate stay within a tenth."""
LOOK_TOLERANCE: Final = 3.0
"""CIELAB units: textures that were compressed again stay well within it."""
_SPREAD: Final = 0.25
"""Weight of standard deviations: compression and smaller pictures smooth a texture's grain, but keep its means."""
CREATORS: Final = "; "
"""Between the creators of one model that has several."""
_STEP: Final = 50
"""Descriptions nearer than this part of a tolerance are compared once."""
_GRID: Final = 3
"""Numbers by which candidates are found."""
_QUARTIC: Final = (
    (0.223381589678011, 0.108103018168070, 0.445948490915965),
    (0.109951743655322, 0.816847572980459, 0.091576213509771),
)
"""Share and barycentric coordinates (one of them twice) of points whose mean is that of any quartic over a triangle:
Dunavant, "High degree efficient symmetrical Gaussian quadrature rules for the triangle", 1985."""


@dataclass(frozen=True)
class Description:
    """What tells a model from others."""

    content: str
    """SHA-256 of the file, or of what stands for it: 32 hex digits."""
    shape: tuple[float, ...]
    """See `describe_shape`."""
    look: tuple[float, ...]
    """Mean and (weighted) standard deviation of the surface's CIELAB colors."""


def describe(content: str, corners: Floats, srgb: Floats) -> Description:
    """Describe a model: its content's name, its triangles (N, 3 corners, 3), and the colors (M, 3), 0..1, of equal-area
    samples of it."""
    lab = to_lab(srgb)
    return Description(
        content,
        tuple(round(float(value), 6) for value in describe_shape(corners)),
        tuple(round(float(value), 3) for value in (*lab.mean(axis=0), *lab.std(axis=0) * _SPREAD)),
    )


def content_of(path: Path) -> str:
    """What `Description.content` says of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def describe_shape(corners: Floats) -> Floats:
    """Moments of the surface about its centroid, in units of its root mean square radius, and of its normals: (13,).

    Integrals are exact, whatever the triangles.
    """
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(normals, axis=1)
    weights = area / area.sum()
    normals = normals / np.maximum(area, 1e-300)[:, None]
    corners = corners - weights @ corners.mean(axis=1)
    squares = (corners.sum(axis=1) ** 2).sum(axis=1) + (corners**2).sum(axis=(1, 2))
    corners = corners / np.sqrt(weights @ squares / 12)
    second, fourth, third, length = np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((3, 9)), 0.0
    for share, points in _points(corners):
        squared = (points**2).sum(axis=1)
        weighted = points * (share * weights)[:, None]
        second += weighted.T @ points
        third += weighted.T @ (points[:, :, None] * points[:, None, :]).reshape(-1, 9)
        fourth += (weighted * squared[:, None]).T @ points
        length += share * float(weights @ squared**2)
    height = np.einsum("ni,ni->n", normals, corners[:, 0])
    axes = [np.linalg.eigvalsh(matrix) for matrix in (second, fourth, (normals * weights[:, None]).T @ normals)]
    skew = third.reshape(3, 3, 3).trace(axis1=1, axis2=2)
    told = [np.linalg.norm(third), np.linalg.norm(skew), np.sqrt(length), np.sqrt(weights @ height**2)]
    return np.concatenate([*(np.sqrt(np.maximum(values, 0)) for values in axes), told]).astype(np.float64)


def identify(assets: Sequence[Asset], descriptions: Sequence[Description]) -> list[Asset]:
    """The assets, in their order, with `family` and `model`, each named by the content that sorts first among its
    members'. Those that are one model have the licenses and creators of all its members."""
    result = list(assets)
    for family in _groups(np.array([one.shape for one in descriptions]), SHAPE_TOLERANCE):
        name = min(descriptions[index].content for index in family)
        for places in _groups(np.array([descriptions[index].look for index in family]), LOOK_TOLERANCE):
            members = sorted((family[place] for place in places), key=lambda index: assets[index].uid)
            model = min(descriptions[index].content for index in members)
            licence = joined(assets[index].licence for index in members)
            creators = dict.fromkeys(assets[index].creator for index in members if assets[index].creator)
            for index in members:
                result[index] = replace(
                    assets[index], family=name, model=model, licence=licence, creator=CREATORS.join(creators)
                )
    return result


def _groups(values: Floats, tolerance: float) -> list[list[int]]:
    """Rows (N, D) whose numbers all differ by at most `tolerance`, from one to the next: positions, by group.

    Candidates share a cell of a grid. In one of two grids that are half a cell apart, two numbers that are near share
    a cell, whatever side of a cell's edge they lie on; so in one of the grids of all such shifts, two rows do.
    """
    _, first, same = np.unique(
        np.round(values * (_STEP / tolerance)).astype(np.int64), axis=0, return_index=True, return_inverse=True
    )
    distinct = values[first]
    above = np.arange(len(distinct))
    cell = 8 * tolerance
    for shift in product((0.0, 0.5), repeat=min(_GRID, values.shape[1])):
        cells = np.floor(distinct[:, : len(shift)] / cell + shift).astype(np.int64)
        _, number, count = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
        order = np.argsort(number.ravel(), kind="stable")
        for members in np.split(order, np.cumsum(count)[:-1]):
            for at, one in enumerate(members[:-1]):
                rest = members[at + 1 :]
                for other in rest[(np.abs(distinct[rest] - distinct[one]) <= tolerance).all(axis=1)]:
                    above[_top(above, int(other))] = _top(above, int(one))
    tops = np.array([_top(above, index) for index in range(len(distinct))], np.intp)[same.ravel()]
    order = np.argsort(tops, kind="stable")
    return [part.tolist() for part in np.split(order, np.flatnonzero(np.diff(tops[order])) + 1)]


def _top(above: NDArray[np.intp], index: int) -> int:
    while above[index] != index:
        above[index] = above[above[index]]
        index = int(above[index])
    return index


def _points(corners: Floats) -> Iterator[tuple[float, Floats]]:
    """Six points of each triangle (N, 3), and the share of each in the mean of a quartic over the triangle."""
    for share, once, twice in _QUARTIC:
        for corner in range(3):
            yield share, twice * corners.sum(axis=1) + (once - twice) * corners[:, corner]
