"""SpatialFusion for the training loop: its options, the inputs of a step, what is saved and sampled.

The paper's abstract names the parts and the two stages; the rest is our reading, see docs/training.md.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from ...shards.errors import BadInput
from ..data import sized
from ..recipe import Batch, Inputs, StepRng
from ..spatialdiff.frozen import PATCH
from .build import Frozen, build_net
from .depth import depth_metrics, depth_picture, metric_units
from .files import LORA, load_parts, load_shared, save_parts
from .options import TINY_RECIPE, SpatialFusionOptions
from .pipeline import SpatialFusionPipeline

if TYPE_CHECKING:
    import torch
    from torch import nn

_TINY: Final = {
    "steps": 60,
    "batch_size": 4,
    "precision": "no",
    "gradient_checkpointing": False,
    "lr": 1e-3,
    "warmup": 10,
    "save_every": 30,
    "validate_every": 60,
    "log": "none",
    "recipe": TINY_RECIPE,
}


class SpatialFusion:
    """The recipe `spatialfusion`; see `training.recipe.TrainingRecipe`."""

    name: ClassVar = "spatialfusion"
    shards: ClassVar = "spatialfusion"
    options_type: ClassVar = SpatialFusionOptions
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({"tiny": _TINY})
    weighs_edits: ClassVar = True
    memory_knobs: ClassVar[Sequence[str]] = (
        "recipe.decoder.features: 128",
        "smaller images, with recipe.width and recipe.height",
    )

    def __init__(self, options: SpatialFusionOptions) -> None:
        self.options = options
        self._frozen: Frozen | None = None

    @classmethod
    def models(cls, options: SpatialFusionOptions) -> Sequence[str]:
        flux = options.backbone == "flux-kontext"
        return (options.flux.base, options.flux.mllm) if flux else (options.joyai.model,)

    @property
    def frozen(self) -> Frozen:
        """The frozen models; available after `build`."""
        assert self._frozen, "call build first"
        return self._frozen

    @property
    def stream_options(self) -> Mapping[str, Any]:
        return {
            "images": "uint8",
            "members": ("source", "target", "metric"),
            "instruction": self.options.instruction,
            "records": True,
        }

    def see(self, first: Callable[[int], Batch]) -> None:
        self.options = sized(self.options, first, PATCH)

    def build(self, device: "torch.device", dtype: "torch.dtype") -> Any:
        """A `nets.SpatialFusionNet`: frozen weights in `dtype`, trainable ones in float32."""
        net, self._frozen = build_net(self.options, device, dtype)
        return net

    def begin(self, module: Any, source: Path | None) -> Sequence[str]:
        """Load the parts of a result folder of any stage that this run has too, or a LoRA file of the editing model.

        Raises BadInput if there is none, or one does not fit.
        """
        options, editor = self.options, self.frozen.editor
        loaded = list(load_shared(module, options, source)) if source and source.is_dir() else []
        lora = source and (source / LORA if source.is_dir() else source)
        if lora and editor and lora.exists():
            loaded += editor.begin(module.backbone, lora)
        if source and not loaded:
            raise BadInput(f"init_from {source} holds nothing that stage {options.stage} trains: give another run")
        if options.stage == 2 and not options.tiny and "branch" not in loaded:
            message = "stage 2 without init_from of stage 1: the branch starts from the MLLM's weights"
            logging.getLogger(__name__).warning(message)
        return loaded

    def prepare(self, batch: Batch, rng: StepRng) -> Inputs:
        """Read the sources and texts, and draw noise and time for each sample.

        Raises BadInput for another image size, a missing text, or depth of another teacher.
        """
        import torch

        texts = self._texts(batch)
        metric = metric_units(batch["key"], batch["record"], self.options.teacher)
        frozen = self.frozen
        inputs = frozen.condition(batch["source"], texts)
        inputs["teacher"] = torch.tensor(np.asarray(batch["metric"], np.float32), device=frozen.device)
        inputs["metric"] = torch.tensor(metric, device=frozen.device)
        return inputs | (frozen.editor.prepare(batch, texts, rng) if frozen.editor else {})

    def _texts(self, batch: Batch) -> list[str]:
        name = self.options.text
        texts = list(batch[name])
        empty = [key for key, text in zip(batch["key"], texts, strict=True) if not text.strip()]
        if empty:
            other = "instruction" if name == "caption" else "caption"
            raise BadInput(
                f"sample {empty[0]} has no {name}: build layer {name}, then rerun spatialdata shard, or set "
                f"recipe.text to {other}"
            )
        return texts

    def save(self, module: "nn.Module", folder: Path) -> None:
        save_parts(module, self.options, folder)
        if editor := self.frozen.editor:
            editor.save(module.backbone, folder / LORA)

    def load(self, module: "nn.Module", folder: Path) -> None:
        load_parts(module, self.options, folder)
        if editor := self.frozen.editor:
            editor.load(module.backbone, folder / LORA)

    def sample(self, module: "nn.Module", batch: Batch, seed: int) -> Mapping[str, Any]:
        """In stage 2 `prediction`; in both the `teacher`'s depth and the predicted `depth`, uint8 (B, H, W, 3).

        Depth in meters is shown in the range of the teacher's.
        """
        pipeline, texts = SpatialFusionPipeline(module, self.frozen), self._texts(batch)
        shown: dict[str, Any] = {}
        if self.frozen.editor:
            shown["prediction"], depth = pipeline.edit(batch["source"], texts, seed=seed, keys=batch["key"])
        else:
            depth = pipeline.depth(batch["source"], texts)
        if "metric" not in batch:
            return shown | {"depth": depth_picture(depth)}
        teacher = np.asarray(batch["metric"])
        return shown | {"depth": depth_picture(depth, teacher), "teacher": depth_picture(teacher)}

    def validation_metrics(self, module: "nn.Module", batch: Batch, seed: int) -> Mapping[str, NDArray[np.float64]]:
        """`abs_rel` and `delta1` of each sample's predicted depth, (B,); see `depth.depth_metrics`.

        Where the teacher's depth has no unit, the prediction is first multiplied by the median ratio to it. `seed` has
        no effect: the branch draws no random numbers.
        """
        del seed
        depth = SpatialFusionPipeline(module, self.frozen).depth(batch["source"], self._texts(batch))
        teacher = np.array(batch["metric"], np.float32)
        known = teacher > 0
        metric = metric_units(batch["key"], batch["record"], self.options.teacher)
        for row in np.flatnonzero(~np.array(metric) & known.any((1, 2))):
            depth[row] *= np.median((teacher[row] / depth[row])[known[row]])
        return depth_metrics(depth, teacher, known)
