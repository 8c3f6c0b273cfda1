"""Editors that are runs of our trainers: the newest checkpoint of a run, a checkpoint, or a result folder."""

import json
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from PIL import Image

from ...shards.codecs import U8
from ...shards.errors import BadInput
from ...shards.extras import require_all
from ...training.checkpoint import FACTS, FOLDER, best_weights, find_checkpoint, read_facts
from .editor import Base, Editor, Task
from .vae import encode_and_decode, resized

RECIPES: Final = ("spatialdiff", "spatialedit", "spatialfusion")
"""Recipes whose results edit images. Each result folder holds `<recipe>.json`."""
_GRID: Final = 16
"""Of spatialedit: sides of its images, in pixels."""


def open_run(path: Path) -> Editor:
    """The editor of a run. Raises BadInput if the folder is no run, has no checkpoint, or its recipe does not edit."""
    checkpoint = find_checkpoint(path) if (path / FOLDER).is_dir() else path if (path / FACTS).is_file() else None
    folder = best_weights(checkpoint) if checkpoint else path
    recipe = next((name for name in RECIPES if (folder / f"{name}.json").is_file()), "")
    if not recipe and checkpoint and (trained := read_facts(checkpoint).recipe) not in RECIPES:
        raise BadInput(f"--with {path}: recipe {trained} does not edit images: give a run of {', '.join(RECIPES)}")
    if not recipe:
        raise BadInput(
            f"--with {path}: it is neither a run of spatialdata train, nor a checkpoint or a result folder of "
            f"{', '.join(RECIPES)}, nor a pipeline of diffusers"
        )
    step = f" of step {checkpoint.name}" if checkpoint else ""
    description = f"{recipe}{step} in {path}"
    if recipe == "spatialedit":
        trained_with = read_facts(checkpoint).config.get("recipe", {}) if checkpoint else {}
        return _SpatialEdit(folder, description, cast(dict[str, Any], trained_with))
    return (_SpatialDiff if recipe == "spatialdiff" else _SpatialFusion)(folder, description)


class _Run(Base):
    def __init__(self, folder: Path, description: str) -> None:
        self._folder = folder
        self.description = description
        self._pipeline: Any = None

    def setup(self) -> None:
        require_all("an editor that was trained", ("torch", "diffusers", "transformers", "peft"), "train")
        self._load()

    def _load(self) -> None:
        raise NotImplementedError


class _SpatialDiff(_Run):
    def _load(self) -> None:
        from ...training.spatialdiff.pipeline import SpatialDiffPipeline

        self._pipeline = SpatialDiffPipeline.from_folder(self._folder)

    def edit(self, task: Task) -> U8:
        return np.asarray(self._pipeline(Image.fromarray(task.image), task.instruction, seed=task.seed))

    def roundtrip(self, image: U8) -> U8:
        frozen = self._pipeline.frozen
        frozen.parts.use("vae")
        fitted = resized(image, self._pipeline.size_for(Image.fromarray(image)))
        return resized(encode_and_decode(frozen.base.vae, fitted), image.shape[1::-1])


class _SpatialFusion(_Run):
    def _load(self) -> None:
        from ...training.spatialfusion.pipeline import SpatialFusionPipeline

        self._pipeline = SpatialFusionPipeline.from_folder(self._folder)
        if self._pipeline.frozen.editor is None:
            raise BadInput(f"--with {self._folder}: stage 1 only predicts depth: give a run of stage 2")

    def edit(self, task: Task) -> U8:
        return np.asarray(self._pipeline(Image.fromarray(task.image), task.instruction, seed=task.seed).image)


class _SpatialEdit(_Run):
    """Gets instructions in the wording that it was trained with: that of SpatialEdit's benchmark has a red box on the
    source, from the record."""

    def __init__(self, folder: Path, description: str, trained_with: dict[str, Any]) -> None:
        super().__init__(folder, description)
        self._trained_with = trained_with

    def _load(self) -> None:
        import torch

        from ...training.spatialedit.adapter import DESCRIPTION
        from ...training.spatialedit.options import SpatialEditOptions
        from ...training.spatialedit.pipeline import load_pipeline

        self._options = SpatialEditOptions.model_validate(self._trained_with)
        base = json.loads((self._folder / DESCRIPTION).read_text())
        self._pipeline = load_pipeline(
            base["model"],
            *([base["merge"]] if base["merge"] else []),
            self._folder,
            revision=base["revision"],
            weights=base["weights"],
            theta=base["theta"] if base["weights"] else 0,
            device="cuda" if torch.cuda.is_available() else "cpu",
        )

    def edit(self, task: Task) -> U8:
        from ...training.spatialedit.pictures import to_benchmark_style
        from ...training.spatialedit.pipeline import edit

        options = self._options
        source, words = task.image, task.instruction
        if options.wording == "bench":
            source, words = to_benchmark_style(source, task.record.model_dump(mode="json", by_alias=True))
        edited = edit(
            self._pipeline,
            resized(source, _size(source, options.side)),
            words,
            steps=options.sample_steps,
            guidance=options.guidance,
            generator=task.seed,
        )
        return resized(edited, task.image.shape[1::-1])

    def roundtrip(self, image: U8) -> U8:
        fitted = resized(image, _size(image, self._options.side))
        return resized(encode_and_decode(self._pipeline.vae, fitted), image.shape[1::-1])


def _size(image: U8, side: int) -> tuple[int, int]:
    """Width and height to edit in: multiples of 16, nearest to the image's own or, with `side`, to a shorter side of
    this length."""
    height, width = image.shape[:2]
    scale = side / min(height, width) if side else 1.0
    return _on_grid(width * scale), _on_grid(height * scale)


def _on_grid(length: float) -> int:
    return max(_GRID, round(length / _GRID) * _GRID)
