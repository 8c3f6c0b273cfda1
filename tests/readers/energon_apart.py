"""Reads a recipe's folder only with megatron-energon; saves pixels and order: <folder> <out.npz> <order.json>."""

import io
import json
import sys

import numpy as np
import torch
from megatron.energon import (
    Cooker,
    DefaultTaskEncoder,
    WorkerConfig,
    get_savable_loader,
    get_train_dataset,
    get_val_dataset,
    stateless,
)
from PIL import Image

ONE = WorkerConfig(rank=0, world_size=1, num_workers=0)


@stateless
def cook(sample):
    images = {name.partition(".")[0]: data for name, data in sample.items() if name.endswith((".png", ".webp", ".jpg"))}
    pixels = {name: torch.from_numpy(np.array(Image.open(io.BytesIO(data)))) for name, data in images.items()}
    identity = {name: sample[name] for name in ("__key__", "__restore_key__", "__sources__", "__subflavors__")}
    return {**identity, **pixels, "record": json.loads(sample["json"])}


class Encoder(DefaultTaskEncoder):
    cookers = [Cooker(cook)]  # noqa: RUF012

    def encode_sample(self, sample):
        return sample

    def batch(self, samples):
        return samples


def pixels_of(folder: str) -> dict[str, np.ndarray]:
    found = {}
    for split in ("train", "val", "test"):
        dataset = get_val_dataset(folder, split_part=split, worker_config=ONE, batch_size=2, task_encoder=Encoder())
        for batch in get_savable_loader(dataset):
            for sample in batch:
                assert sample["record"]["key"] == sample["__key__"]
                found |= {
                    f"{split}/{sample['__key__']}/{name}": value.numpy()
                    for name, value in sample.items()
                    if isinstance(value, torch.Tensor)
                }
    return found


def shuffled(folder: str):
    return get_savable_loader(
        get_train_dataset(
            folder,
            split_part="train",
            worker_config=ONE,
            batch_size=1,
            task_encoder=Encoder(),
            shuffle_buffer_size=None,
            max_samples_per_sequence=None,
        )
    )


def keys_of(loader, count: int) -> list[str]:
    return [batch[0]["__key__"] for _, batch in zip(range(count), loader, strict=False)]


def main(folder: str, pixels: str, order: str) -> None:
    np.savez(pixels, **pixels_of(folder))
    loader = shuffled(folder)
    first = keys_of(loader, 3)
    state = loader.save_state_rank()
    then = keys_of(loader, 5)
    again = shuffled(folder)
    again.restore_state_rank(state)
    with open(order, "w") as file:  # noqa: PTH123
        json.dump({"first": first, "then": then, "resumed": keys_of(again, 5)}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
