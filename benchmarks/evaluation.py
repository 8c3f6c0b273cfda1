"""What the metrics say of predictions with known faults, how often the object is found, and keys per second.

    python benchmarks/evaluation.py SHARDS [SHARDS ...] [--per-kind 25] [--kinds translate,rotate,scale,insert]

SHARDS are folders of shards of recipe `full` (OUT of a build). Prints one table for each kind of edit, as Markdown: a
row for each made prediction (`evaluation/testbed.py`), with the mean of each metric over the samples that allow it;
`within 3 px` is the share of predictions whose object is found within 3 px of where it was put. Then, of camera edits,
what the targets of other samples of the same scene get, by how far their camera is off. Then CPU milliseconds per
prediction, and keys per second on one core. Targets: within 3 px in 90 % of the exact predictions and of those shifted
by 20 px; 20 keys per second at 512 x 512.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator

import cv2
import numpy as np

from spatialdata_builder.evaluation.metrics.camera import camera_values, pose_error
from spatialdata_builder.evaluation.metrics.metric import METRICS
from spatialdata_builder.evaluation.report import number
from spatialdata_builder.evaluation.score import read_prediction, score
from spatialdata_builder.evaluation.testbed import MAKERS
from spatialdata_builder.evaluation.truth import Truth, read_truths
from spatialdata_builder.shards.codecs import encode_image
from spatialdata_builder.shards.geometry import matrix4
from spatialdata_builder.shards.markdown import table

KINDS = "translate,rotate,scale,insert,remove"
COLUMNS = (
    *("psnr", "psnr_object", "ssim", "ssim_object", "ms_ssim", "ms_ssim_changed", "preserved_psnr", "preserved_ssim"),
    *("found", "box_iou", "mask_iou", "center_px", "center_m", "scale_error", "left_behind", "duplicated", "turned"),
    "relation",
)
NEAR_PX = 3


class Row:
    """What one kind of prediction got."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = defaultdict(list)
        self.near: list[bool] = []
        self.samples = 0

    def add(self, truth: Truth, name: str) -> None:
        made = MAKERS[name](truth)
        if made is None:
            return
        self.samples += 1
        scored = score(truth, made.image)
        for metric, value in scored.values.items():
            if value is not None:
                self.values[metric].append(value)
        if made.shift is not None and scored.seen and truth.kind.in_target:
            (dx, dy), place = scored.seen[0].shift, scored.seen[0].place
            self.near.append(place is not None and np.hypot(dx - made.shift[0], dy - made.shift[1]) <= NEAR_PX)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="+")
    parser.add_argument("--per-kind", type=int, default=25, help="samples of each kind in each folder")
    parser.add_argument("--kinds", default=KINDS)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    for kind in arguments.kinds.split(","):
        show_kind(kind, arguments.shards, arguments.per_kind)
    show_camera(arguments.shards, arguments.per_kind)
    show_speed(arguments.shards)


def of_kind(kind: str, folders: list[str], count: int) -> Iterator[Truth]:
    for folder in folders:
        seen = 0
        for truth in read_truths(folder):
            if truth.record.edit.kind == kind and seen < count:
                seen += 1
                yield truth


def show_kind(kind: str, folders: list[str], count: int) -> None:
    found = {name: Row() for name in MAKERS}
    for truth in of_kind(kind, folders, count):
        for name, row in found.items():
            row.add(truth, name)
    shown = [metric for metric in COLUMNS if any(metric in row.values for row in found.values())]
    lines = []
    for name, row in found.items():
        if row.samples:
            near = f"{np.mean(row.near):.2f}" if row.near else ""
            cells = [number(METRICS[m], np.mean(row.values[m])) if row.values[m] else "" for m in shown]
            lines.append([name, row.samples, near, *cells])
    print(f"\n### {kind}\n\n{table(['prediction', 'samples', 'within 3 px', *shown], lines)}", flush=True)


def show_camera(folders: list[str], count: int) -> None:
    scenes: dict[str, list[Truth]] = defaultdict(list)
    for truth in of_kind("camera", folders, count):
        scenes[truth.record.provenance.family or str(truth.record.provenance.seed)].append(truth)
    found: dict[str, list[dict[str, float | None]]] = defaultdict(list)
    for truths in scenes.values():
        for truth in truths:
            found["exact"].append(camera_values(truth, truth.target))
            found["copy"].append(camera_values(truth, truth.source))
            for other in truths:
                camera, source = other.record.camera, truth.record.camera
                if other is not truth and camera.source == source.source and camera.target.K == source.target.K:
                    pose = matrix4(camera.target.world_from_camera)
                    off = 90 * pose_error(pose, source.target, source.source)[1]
                    found[f"off by {15 * round(off / 15):3d}°"].append(camera_values(truth, other.target))
    names = ("camera_position", "camera_angle", "viewpoint", "framing")
    lines = []
    for name, rows in sorted(found.items()):
        known = [row for row in rows if row.get("viewpoint") is not None]
        means = [[row[metric] for row in known if row.get(metric) is not None] for metric in names]
        lines.append([name, len(rows), len(known), *(f"{np.mean(values):.3f}" if values else "" for values in means)])
    print(f"\n### camera\n\n{table(['prediction', 'samples', 'judged', *names], lines)}", flush=True)


def show_speed(folders: list[str]) -> None:
    spent: dict[tuple[int, int], list[float]] = defaultdict(list)
    for kind in KINDS.split(","):
        for truth in of_kind(kind, folders, 4):
            began = time.process_time()
            _ = truth.plate  # once for each key, and kept for the next prediction
            plate = time.process_time() - began
            for name in ("exact", "shifted by 20 px", "blurred", "JPEG 50"):
                if made := MAKERS[name](truth):
                    data = encode_image(made.image, "png")
                    began = time.process_time()
                    image, _ = read_prediction(data, truth)
                    score(truth, image)
                    spent[truth.size].append(time.process_time() - began + plate / 4)
    for (width, height), seconds in sorted(spent.items()):
        mean = float(np.mean(seconds))
        print(f"{width} x {height}: {1000 * mean:.1f} ms per prediction, {1 / mean:.1f} keys per second on one core")


if __name__ == "__main__":
    main()
