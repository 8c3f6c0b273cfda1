"""A tiny random checkpoint of the real architecture for every model stage, and the settings to use them.

    python -m tests.pipeline.tiny_models FOLDER

writes them and prints the `--set` options of a build that uses all of them.
"""

import shlex
import sys
from pathlib import Path

import torch

from tests.annotators import metric3d_models, sam2_models
from tests.annotators.test_depth_anything import make_checkpoint
from tests.annotators.test_drawings import random_weights


def make_models(folder: Path) -> dict[str, str]:
    """`key=value` settings by layer: one map stage of each kind, on the CPU."""
    folder.mkdir(parents=True, exist_ok=True)
    make_checkpoint(folder / "depth", "relative")
    sam2_models.save_tiny(folder / "sam2")
    metric3d_models.community(folder / "metric3d.onnx", scale=0.01)
    torch.save(random_weights(), folder / "sk_model.pth")
    return {
        "depth": f"{{stage: depth_anything_v2, model: {folder}/depth, gpus: 0}}",
        "metric": f"{{stage: metric3d, model: {folder}/metric3d.onnx, normals: true, canvas: [112, 112], gpus: 0}}",
        "normal": "from_metric",
        "segment": f"{{stage: sam2, model: {folder}/sam2, points_per_side: 4, pred_iou_thresh: 0, "
        "stability_score_thresh: 0.5, gpus: 0}",
        "line": f"{{stage: informative_drawings, model: {folder}/sk_model.pth, gpus: 0}}",
    }


def settings(models: dict[str, str]) -> list[str]:
    return [part for layer, chosen in models.items() for part in ("--set", f"layers.{layer}={chosen}")]


if __name__ == "__main__":
    sys.stdout.write(shlex.join(settings(make_models(Path(sys.argv[1]).absolute()))) + "\n")
