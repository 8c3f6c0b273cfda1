"""Postprocessing of SAM 2's low-resolution logits: scores, boxes, duplicates, specks, and one label map.

Invariant: masks are selected at the decoder's resolution; only the selected ones are resized to the image. A pixel of
the label map belongs to the smallest selected mask that covers it.

Follows the automatic mask generation of "Segment Anything" (Kirillov et al. 2023, section 5 and appendix B).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from ..shards.codecs import F32, Labels, Mask, relabel

if TYPE_CHECKING:
    from torch import Tensor


def grid_points(per_side: int) -> F32:
    """Centers x, y (per_side², 2) of the cells of a square grid, row by row, as fractions of width and height."""
    centers = (np.arange(per_side, dtype=np.float64) + 0.5) / per_side
    x, y = np.meshgrid(centers, centers)
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


def stability_scores(logits: "Tensor", threshold: float, offset: float) -> "Tensor":
    """IoU (N,) of each mask at threshold + offset and at threshold - offset; 0 if both are empty.

    Args:
        logits: (N, h, w).
    """
    # One mask contains the other, so their areas are intersection and union.
    inner = (logits > threshold + offset).flatten(1).sum(dim=1)
    outer = (logits > threshold - offset).flatten(1).sum(dim=1)
    return inner / outer.clamp(min=1)


def mask_boxes(masks: "Tensor") -> "Tensor":
    """[x0, y0, x1, y1] (N, 4) around the true pixels of masks (N, h, w), x1 and y1 exclusive; zeros if empty."""
    import torch

    edges: list[Tensor] = []
    for axis in (1, 2):  # columns that have true pixels, then rows
        hit = masks.any(dim=axis).to(torch.uint8)
        length = hit.shape[1]
        # argmax finds the first of equal values
        edges += [hit.argmax(dim=1), (length - hit.flip(1).argmax(dim=1)) * hit.amax(dim=1)]
    x0, x1, y0, y1 = edges
    return torch.stack([x0, y0, x1, y1], dim=1)


def box_nms(boxes: NDArray[np.integer], scores: F32, threshold: float) -> Mask:
    """Greedy non-maximum suppression: whether each box is kept (N,).

    Of two boxes with an IoU above `threshold`, the one with the lower score is removed (if equal, the later one).

    Args:
        boxes: (N, 4) x0, y0, x1, y1, exclusive ends.
        scores: (N,), above 0.
    """
    kept = np.zeros(len(boxes), np.bool_)
    if len(boxes) > 0:
        sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).astype(np.float64)
        kept[cv2.dnn.NMSBoxes(sides.tolist(), scores.tolist(), 0.0, threshold)] = True
    return kept


def stable_masks(
    logits: "Tensor", ious: "Tensor", *, threshold: float, offset: float, least: float
) -> "tuple[Tensor, Tensor]":
    """The masks (N, h, w) and their predicted IoUs (N,) with a stability score of `least` or more."""
    stable = stability_scores(logits, threshold, offset) >= least
    return logits[stable], ious[stable]


def distinct_masks(parts: "Sequence[tuple[Tensor, Tensor]]", *, threshold: float, nms_threshold: float) -> "Tensor":
    """The masks (K, h, w) that suppression keeps, in order, of the parts' masks (N, h, w) with predicted IoUs (N,)."""
    import torch

    boxes = torch.cat([mask_boxes(logits > threshold) for logits, _ in parts]).cpu().numpy()
    kept = box_nms(boxes, torch.cat([ious for _, ious in parts]).cpu().numpy(), nms_threshold)
    ends = np.cumsum([len(logits) for logits, _ in parts])[:-1]
    # Part by part: a tensor of all masks would take gigabytes, and twice for the copy.
    return torch.cat(
        [
            logits[torch.from_numpy(own).to(logits.device)]
            for (logits, _), own in zip(parts, np.split(kept, ends), strict=True)
        ]
    )


def upsample(logits: F32, size: tuple[int, int]) -> F32:
    """Resize h x w to `size` (width, height), bilinearly with pixel centers aligned, without antialiasing."""
    return np.asarray(cv2.resize(logits, size, interpolation=cv2.INTER_LINEAR), np.float32)


def remove_specks(mask: Mask, area: int) -> Mask:
    """Fill holes of fewer than `area` pixels, then remove islands of fewer, except for the largest one.

    Pixels that touch at a corner are connected, in holes and in islands.
    """
    filled = mask | _small_regions(~mask, area, keep_largest=False)
    return filled & ~_small_regions(filled, area, keep_largest=True)


def _small_regions(mask: Mask, area: int, *, keep_largest: bool) -> Mask:
    """The pixels (H, W) of connected regions of fewer than `area` pixels."""
    _, found, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    regions, areas = found.astype(np.intp, copy=False), stats[:, cv2.CC_STAT_AREA]
    small = areas < area
    small[0] = False  # label 0: outside the mask
    if keep_largest and len(areas) > 1:
        small[1 + int(np.argmax(areas[1:]))] = False
    return small[regions]


def paint(masks: Sequence[Mask], size: tuple[int, int], min_area: int = 0) -> Labels:
    """Paint masks (H, W), which may overlap, from the largest to the smallest, into one label map (H, W).

    A mask with fewer than `min_area` visible pixels is left out, so the masks beneath it show.

    Args:
        size: width and height.

    Returns labels: 0 background, then contiguous, larger visible areas first.
    """
    width, height = size
    labels = np.zeros((height, width), np.int32)
    areas = [int(np.count_nonzero(mask)) for mask in masks]
    # Front to back: the smallest mask first; of equal ones, the earlier is in front.
    for label, index in enumerate(np.argsort(areas, kind="stable"), start=1):
        visible = masks[int(index)] & (labels == 0)
        if int(np.count_nonzero(visible)) >= max(min_area, 1):
            labels[visible] = label
    return relabel(labels)


def label_map(
    logits: F32, size: tuple[int, int], *, threshold: float = 0.0, min_region: int = 0, min_area: int = 0
) -> Labels:
    """Label map of `size` (width, height) from the logits (K, h, w) of the selected masks; zeros if K is 0.

    Args:
        threshold: logit above which a pixel belongs to a mask.
        min_region: area of the smallest holes and islands to keep (`remove_specks`); 0 keeps all.
        min_area: smallest visible area, as in `paint`.
    """
    masks = [upsample(mask, size) > threshold for mask in logits]
    if min_region > 0:
        masks = [remove_specks(mask, min_region) for mask in masks]
    return paint(masks, size, min_area)
