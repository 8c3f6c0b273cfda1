"""Drawn pictures in place of renders of an asset, and a model that answers from the pixels of a contact sheet.

The more the front faces the viewer, the more of a picture is red; the more the rear does, the more is blue.
"""

import json
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from spatialdata_builder.annotators.vlm.client import Request
from spatialdata_builder.shards.codecs import decode_image, encode_image
from spatialdata_builder.shards.sample import Sample

SIDE = 64
COLORS = ("red", "blue", "grey")


def portraits(key: str, front_deg: float | None) -> Sample:
    """A sample of layer `portraits`. Without a front, all sides look the same."""
    views = {f"view_{a:03d}": encode_image(view_of(a, front_deg)) for a in range(0, 360, 45)}
    return Sample(key, "train", {}, {"portraits": views})


def view_of(azimuth: float, front_deg: float | None) -> np.ndarray:
    view = np.full((SIDE, SIDE, 3), 100 + azimuth / 9, np.uint8)  # the pictures of an asset differ
    if front_deg is None:
        return view
    facing = float(np.cos(np.deg2rad(azimuth - front_deg)))
    rows = round(abs(facing) * SIDE / 2)
    view[SIDE - rows :, 16:] = (220, 30, 30) if facing > 0 else (30, 30, 220)
    return view


def panels_of(sheet: bytes) -> list[np.ndarray]:
    """The eight panels of a sheet, A first."""
    image = decode_image(sheet)
    height, width = image.shape[0] // 2, image.shape[1] // 4
    return [image[r * height : (r + 1) * height, c * width : (c + 1) * width] for r in range(2) for c in range(4)]


def observe(request: Request) -> dict[str, object]:
    """The observer's answer: the panel with most red is the front, the one with most blue is the rear."""
    panels = panels_of(request.images[0])
    red = [int((p[..., 0].astype(int) - p[..., 2] > 90).sum()) for p in panels]
    blue = [int((p[..., 2].astype(int) - p[..., 0] > 90).sum()) for p in panels]
    has_front = max(red) > 0
    return {
        "name": "an office chair",
        "colour": "red" if has_front else "none",
        "material": "plastic",
        "evidence": "A red seat.",
        "distinguishable": has_front,
        "front": "ABCDEFGH"[int(np.argmax(red))] if has_front else "none",
        "rear": "ABCDEFGH"[int(np.argmax(blue))] if has_front else "none",
    }


class Observer:
    """A backend that answers from the pixels. `change` may alter its answer, given the request and the seed."""

    model, revision = "observer", "r1"

    def __init__(self, change: Callable[[dict[str, object], Request, int], dict[str, object] | str] | None = None):
        self._change = change
        self.asked: list[Request] = []

    def stream(self, requests: Sequence[Request], seed: int) -> Iterator[tuple[int, str]]:
        self.asked += requests
        return ((index, self._answer(request, seed)) for index, request in enumerate(requests))

    def _answer(self, request: Request, seed: int) -> str:
        answer = observe(request)
        changed = self._change(answer, request, seed) if self._change else answer
        return changed if isinstance(changed, str) else json.dumps(changed)
