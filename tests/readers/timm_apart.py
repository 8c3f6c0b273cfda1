"""Reads a recipe's folder with timm's own WebDataset reader and saves the pixels: <folder> <out.npz>."""

import sys

import numpy as np
import torch

# torchvision's wheel has no compiled operators for torch without CUDA. They are not needed here, but importing
# torchvision requires their declarations.
LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
for schema in (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
):
    LIBRARY.define(schema)

from timm.data import create_dataset  # noqa: E402

from spatialdata_builder.shards.schema import SCHEMA_VERSION  # noqa: E402


def main(folder: str, pixels: str) -> None:
    found = {}
    for split in ("train", "validation", "test"):
        dataset = create_dataset(
            "wds/spatialdata", root=folder, split=split, input_key="target.webp;jpg", target_key="schema"
        )
        assert len(dataset) == sum(1 for _ in dataset)
        for index, (image, target) in enumerate(dataset):
            assert target == SCHEMA_VERSION
            found[f"{split}/{index}/target"] = np.asarray(image)
    np.savez(pixels, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
