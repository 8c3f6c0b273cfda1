"""The triangles of a model file, and of an asset in its object frame."""

from pathlib import Path
from typing import Final

import numpy as np

from .asset import Asset
from .glb import Floats, GlbError, open_glb
from .height_map import Integers
from .primitives import read_primitives
from .surface_samples import z_up

_SLACK: Final = 2e-3
"""Fraction of the largest side by which the visible part may exceed the asset's box."""


def read_triangles(file: Path) -> tuple[Floats, Integers]:
    """Vertices (n, 3), file units, z up, and triangles (m, 3) of a GLB file's default scene.

    Raises:
        GlbError: the file cannot be read, or has no triangles.
    """
    primitives = read_primitives(open_glb(file))
    if not primitives:
        raise GlbError("no_geometry", "the default scene contains no triangles")
    first = np.cumsum([0, *(len(one.positions) for one in primitives[:-1])])
    faces = np.concatenate([one.triangles + start for one, start in zip(primitives, first, strict=True)])
    return z_up(np.concatenate([one.positions for one in primitives])), faces


def read_mesh(asset: Asset, file: Path) -> tuple[Floats, Integers]:
    """Vertices (n, 3), meters, z up, and triangles (m, 3) of a GLB file, without invisible parts (`Asset.cut`).

    Raises:
        GlbError: the file cannot be read, or has no triangles.
    """
    points, faces = read_triangles(file)
    vertices = points @ np.reshape(asset.axes, (3, 3)).T * asset.scale + asset.offset
    if asset.cut:
        size, slack = np.array(asset.size_m), _SLACK * max(asset.size_m)
        low, high = np.array([-size[0] / 2, -size[1] / 2, 0.0]) - slack, np.array([size[0] / 2, size[1] / 2, size[2]])
        corners = vertices[faces]
        faces = faces[((corners.max(axis=1) > low) & (corners.min(axis=1) < high + slack)).all(axis=1)]
    return vertices, faces
