"""Transforms of glTF nodes as Blender stores them: in single precision, unit quaternions, matrices without shear.

Frames are those of the file (y up). Blender converts y up to z up first, so matrices are decomposed in that frame.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .glb import Floats, Node

_Z_UP: Final = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
_LARGEST: Final = 1e18
"""The square is still finite in single precision."""
Numbers = Sequence[float] | NDArray[Any]


def local_matrix(node: Node) -> Floats:
    """(4, 4) transform of a node to its parent's frame. Raises ValueError if it is malformed."""
    if node.get("matrix") is not None:
        return _without_shear(_as_single(node["matrix"], 16).reshape(4, 4).T)
    translation, rotation, scale = node.get("translation"), node.get("rotation"), node.get("scale")
    return matrix_of(translation or (0.0, 0.0, 0.0), rotation or (0.0, 0.0, 0.0, 1.0), scale or (1.0, 1.0, 1.0))


def matrix_of(translation: Numbers, rotation: Numbers, scale: Numbers) -> Floats:
    """(4, 4) transform of a translation (3,), a quaternion (4,), x first, of any length, and a scale (3,)."""
    matrix = np.eye(4)
    matrix[:3, :3] = _rotation_matrix(_as_single(rotation, 4)) * _as_single(scale, 3)
    matrix[:3, 3] = _as_single(translation, 3)
    return matrix


def _as_single(values: Numbers, count: int) -> Floats:
    """Numbers as Blender stores them. Raises ValueError if there are too few or too many, or one is too large."""
    found = np.array(values, np.float64)
    if found.shape != (count,):
        raise ValueError(f"a transform has {found.size} numbers instead of {count}")
    if not (np.abs(found) < _LARGEST).all():
        raise ValueError(f"a transform has numbers above {_LARGEST:g}")
    return found.astype(np.float32).astype(np.float64)


def _rotation_matrix(quaternion: Floats) -> Floats:
    """(3, 3) of a quaternion, x first. As in Blender, one of length zero rotates by 180 degrees about x."""
    length = float(np.linalg.norm(quaternion))
    x, y, z, w = quaternion / length if length > 0 else (1.0, 0.0, 0.0, 0.0)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _without_shear(matrix: Floats) -> Floats:
    """A matrix reduced to translation, rotation and scale, as Blender stores the transform of a node."""
    axes = _Z_UP @ matrix[:3, :3] @ _Z_UP.T
    size = np.linalg.norm(axes, axis=0)
    axes = axes / np.where(size > 0, size, 1.0)
    if np.linalg.det(axes) < 0:
        axes, size = -axes, -size
    result = np.eye(4)
    result[:3, :3] = _Z_UP.T @ (_rotation_matrix(_quaternion(axes)) * size) @ _Z_UP
    result[:3, 3] = matrix[:3, 3]
    return result


def _quaternion(axes: Floats) -> Floats:
    """Quaternion, x first, of a matrix with unit columns, by Mike Day's method.

    Other methods give other results if the columns are not orthogonal.

    https://d3cw3dd2w32x2b.cloudfront.net/wp-content/uploads/2015/01/matrix-to-quat.pdf
    """
    m = axes.T
    if m[2, 2] < 0:
        if m[0, 0] > m[1, 1]:
            trace = 1 + m[0, 0] - m[1, 1] - m[2, 2]
            return np.array([trace, m[0, 1] + m[1, 0], m[2, 0] + m[0, 2], m[1, 2] - m[2, 1]])
        trace = 1 - m[0, 0] + m[1, 1] - m[2, 2]
        return np.array([m[0, 1] + m[1, 0], trace, m[1, 2] + m[2, 1], m[2, 0] - m[0, 2]])
    if m[0, 0] < -m[1, 1]:
        trace = 1 - m[0, 0] - m[1, 1] + m[2, 2]
        return np.array([m[2, 0] + m[0, 2], m[1, 2] + m[2, 1], trace, m[0, 1] - m[1, 0]])
    trace = 1 + m[0, 0] + m[1, 1] + m[2, 2]
    return np.array([m[1, 2] - m[2, 1], m[2, 0] - m[0, 2], m[0, 1] - m[1, 0], trace])
