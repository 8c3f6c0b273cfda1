"""Segments by SAM 2: everything in the image, prompted by a grid of points, or the known objects, prompted by boxes.

Invariant: one label map per image (0 background, ids contiguous, larger areas first). Up to rounding in the model, it
depends neither on the number of images nor on the number of prompts that are processed at once.

`prompts: grid` follows SAM 2's automatic mask generator without crops: three masks for each point of a grid; masks with
a low predicted IoU or an unstable outline are removed, then all but the best of those with nearly equal boxes; the rest
is painted from large to small. Masks are selected at the decoder's resolution, while the generator works at the
image's, so a stability score may differ by a few thousandths.

Checkpoints: `facebook/sam2.1-hiera-{tiny,small,base-plus,large}` on the hub, or a folder saved by transformers.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from PIL import Image

from ..shards.codecs import F32, U8, encode_labels, map_info
from ..shards.errors import BadInput
from ..shards.extras import require
from .batches import Batches, out_of_memory
from .checkpoint import Checkpoint, find_checkpoint
from .device import autocast, pick_device, ready_model, to_device, to_host
from .estimated import EstimatedMap, Map, Picture
from .onednn import speed_up_linears
from .sam2_decoder import PointDecoder, SharedTokens
from .sam2_masks import distinct_masks, grid_points, label_map, stable_masks

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_FILES = ("*.json", "*.safetensors")
_GPU_POINTS, _CPU_POINTS = 64, 4
"""Points decoded at once: SAM 2's default, and a number whose data fits a CPU's caches."""


@dataclass(frozen=True)
class Sam2Segments(EstimatedMap):
    """Layer `segment` by SAM 2. Thresholds have the names and defaults of SAM 2's automatic mask generator."""

    layer: ClassVar[str] = "segment"

    model: str = "facebook/sam2.1-hiera-large"
    batch_size: int = field(default=4, metadata={"fingerprint": False})
    prompts: Literal["grid", "boxes"] = "grid"
    """`grid`: everything in the image. `boxes`: one mask for each visible known object, without thresholds."""
    points_per_side: int = 32
    points_per_batch: int = field(default=0, metadata={"fingerprint": False})
    """Points decoded at once, halved if memory runs out. 0: 64 on a GPU, 4 on the CPU."""
    pred_iou_thresh: float = 0.8
    """Masks with a lower predicted IoU are removed."""
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    """Offset in logits: the stability score compares the mask at this much above and below `mask_threshold`."""
    mask_threshold: float = 0.0
    box_nms_thresh: float = 0.7
    """Of two masks whose boxes have a higher IoU, the one with the lower predicted IoU is removed."""
    min_mask_region_area: int = 0
    """Area in pixels of the image below which holes of a mask are filled and islands removed."""
    min_mask_area: int = 0
    """Visible area in pixels of the image below which segments are removed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.points_per_side < 1 or self.points_per_batch < 0:
            raise BadInput(f"layers.{self.layer}: points_per_side must be 1 or more, points_per_batch 0 or more")
        if not 0 < self.box_nms_thresh <= 1 or self.stability_score_offset < 0:
            raise BadInput(f"layers.{self.layer}: box_nms_thresh must be in 0..1, stability_score_offset 0 or more")

    def setup(self) -> "Sam2Segmenter":
        device = pick_device(self.layer, self.gpus)
        checkpoint = find_checkpoint(self.model, self.revision, files=_FILES)
        return Sam2Segmenter(self, checkpoint, device)


@dataclass(frozen=True)
class Processor:
    """Preprocessing for the encoder: resize to its square, then scale * byte + shift."""

    scale: tuple[float, ...]
    """For red, green, blue."""
    shift: tuple[float, ...]
    resample: Image.Resampling

    @classmethod
    def load(cls, folder: Path) -> "Processor":
        """Read the checkpoint's image-processor configuration. Missing values default to those of the SAM 2 release."""
        values: dict[str, Any] = {}
        for name in ("preprocessor_config.json", "processor_config.json"):
            if (folder / name).is_file():
                content = json.loads((folder / name).read_text())
                values |= content.get("image_processor", content)
        mean = values.get("image_mean", (0.485, 0.456, 0.406))
        std = values.get("image_std", (0.229, 0.224, 0.225))
        factor = values.get("rescale_factor", 1 / 255)
        return cls(
            scale=tuple(factor / one for one in std),
            shift=tuple(-one / by for one, by in zip(mean, std, strict=True)),
            resample=Image.Resampling(values.get("resample", Image.Resampling.BILINEAR)),
        )


@dataclass(frozen=True)
class _Ready:
    """An input image of the encoder, and its box prompts."""

    pixels: U8
    """(S, S, 3): bytes, a quarter of the size of floats in transfer."""
    boxes: F32
    """(K, 4) in the encoder's pixels; empty for the grid."""


class Sam2Segmenter:
    """A loaded SAM 2. Raises BadInput if the checkpoint is not one."""

    def __init__(self, stage: Sam2Segments, checkpoint: Checkpoint, device: "torch.device") -> None:
        self._stage, self._checkpoint, self._device = stage, checkpoint, device
        self.network = ready_model(load_sam2(checkpoint), device, compiled=False)
        self._decoder = PointDecoder(self.network)
        if stage.compile:  # only this part: the model's own forward is never called
            self.network.vision_encoder.compile(dynamic=False)
        elif device.type == "cpu" and stage.dtype in ("auto", "float32"):
            speed_up_linears(self.network)
            speed_up_linears(self._decoder.upscaling)
        self._side = int(self.network.prompt_encoder.input_image_size)
        self._processor = Processor.load(checkpoint.folder)
        self._points_per_batch = stage.points_per_batch or (_GPU_POINTS if device.type == "cuda" else _CPU_POINTS)
        self._prepare_prompts()
        # Batches bring no gain on a CPU: the data of one image does not stay in its caches.
        size = stage.batch_size if device.type == "cuda" else 1
        self._batches = Batches(
            self._prepare, self._forward, self._finish, size=size, threads=stage.threads, whole=stage.compile
        )

    def __call__(self, pictures: Sequence[Picture]) -> list[Mapping[str, Map]]:
        return self._batches(pictures)

    def _prepare_prompts(self) -> None:
        """Compute what all images share, in float32: bfloat16 would move points by several pixels."""
        import torch

        with torch.inference_mode():
            points = torch.from_numpy(grid_points(self._stage.points_per_side) * self._side).to(self._device)
            labels = torch.ones((1, len(points), 1), dtype=torch.int32, device=self._device)
            grid, self._dense = self.network.prompt_encoder(points[None, :, None], labels, None, None)
            self._grid = grid[0]
            self._positions = self.network.get_image_wide_positional_embeddings()

    def _prepare(self, picture: Picture) -> _Ready:
        square = Image.fromarray(picture.rgb).resize((self._side, self._side), self._processor.resample)
        boxes = box_prompts(picture, self._side) if self._stage.prompts == "boxes" else np.zeros((0, 4), np.float32)
        return _Ready(np.asarray(square), boxes)

    def _forward(self, ready: list[_Ready]) -> list[Callable[[], F32]]:
        """Logits (K, S / 4, S / 4) of the kept masks of each image."""
        import torch

        scale, shift = (
            torch.tensor(values, device=self._device).view(3, 1, 1)
            for values in (self._processor.scale, self._processor.shift)
        )
        found: list[Callable[[], F32]] = []
        with torch.inference_mode():
            pixels = to_device([image.pixels for image in ready], self._device).permute(0, 3, 1, 2) * scale + shift
            with autocast(self._device, self._stage.dtype):
                features = self.network.get_image_embeddings(pixels)
                for index, image in enumerate(ready):
                    own = [feature[index : index + 1] for feature in features]
                    logits = (
                        self._grid_masks(own) if self._stage.prompts == "grid" else self._box_masks(own, image.boxes)
                    )
                    found += to_host(logits.float()[None])
        return found

    def _grid_masks(self, features: "list[Tensor]") -> "Tensor":
        """Logits of the grid's masks that pass both thresholds, without duplicates, in the order of the grid."""
        stage = self._stage
        image = self._decoder.share(features, self._positions, self._dense)
        parts: list[tuple[Tensor, Tensor]] = []
        first = 0
        while first < len(self._grid):
            points = self._grid[first : first + self._points_per_batch]
            found = self._decode(image, points)
            if found is not None:
                stable = stable_masks(
                    *found,
                    threshold=stage.mask_threshold,
                    offset=stage.stability_score_offset,
                    least=stage.stability_score_thresh,
                )
                parts.append(stable)
                first += len(points)
        return distinct_masks(parts, threshold=stage.mask_threshold, nms_threshold=stage.box_nms_thresh)

    def _decode(self, image: SharedTokens, points: "Tensor") -> "tuple[Tensor, Tensor] | None":
        """Call the decoder. None if memory runs out: then fewer points are decoded at once from here on."""
        try:
            return self._decoder(image, points, self._stage.pred_iou_thresh)
        except Exception as error:
            if len(points) == 1 or not out_of_memory(error):
                raise
            self._points_per_batch = len(points) // 2
            return None

    def _box_masks(self, features: "list[Tensor]", boxes: F32) -> "Tensor":
        """Logits of one mask per box: unlike points, boxes are not ambiguous."""
        import torch

        if len(boxes) == 0:
            return features[0].new_zeros((0, self._side // 4, self._side // 4))
        prompts = torch.from_numpy(boxes)[None].to(self._device)
        with torch.autocast(self._device.type, enabled=False):
            sparse, dense = self.network.prompt_encoder(None, None, prompts, None)
        logits, *_ = self.network.mask_decoder(
            image_embeddings=features[-1],
            image_positional_embeddings=self._positions,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
            high_resolution_features=features[:-1],
        )
        return logits[0, :, 0]

    def _finish(self, picture: Picture, ready: _Ready, logits: Callable[[], F32]) -> Mapping[str, Map]:
        stage = self._stage
        labels = label_map(
            logits(),
            picture.size,
            threshold=stage.mask_threshold,
            min_region=stage.min_mask_region_area,
            min_area=stage.min_mask_area,
        )
        info = map_info(
            "segments", estimator=self._checkpoint.name, revision=self._checkpoint.revision, count=int(labels.max())
        )
        return {stage.layer: (encode_labels(labels), info)}


def box_prompts(picture: Picture, side: int) -> F32:
    """Boxes (K, 4) of the visible objects, first and last pixel, in pixels of an encoder input of `side` x `side`."""
    width, height = picture.size
    boxes = [thing.source_box if picture.view == "source" else thing.target_box for thing in picture.objects]
    prompts = np.array([box for box in boxes if any(box)], np.float32).reshape(-1, 4)
    # SAM's boxes include the last pixel; those of the facts end after it.
    prompts[:, 2:] -= 1
    return prompts * np.array([side / width, side / height] * 2, np.float32)


def load_sam2(checkpoint: Checkpoint) -> Any:
    """Load a `transformers.Sam2Model` in float32. Raises BadInput if weights are missing or do not fit."""
    transformers = require("transformers", "annotators")
    require("torch", "annotators")
    # Released checkpoints are of the video model, about which transformers warns at each load.
    logger = logging.getLogger("transformers.configuration_utils")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        model, loading = transformers.Sam2Model.from_pretrained(
            checkpoint.folder, output_loading_info=True, dtype="float32", local_files_only=True
        )
    except Exception as error:  # transformers raises many types: no configuration, another model, damaged weights
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise BadInput(f"checkpoint '{checkpoint.model}' is not a SAM 2 that transformers can load: {reason}") from None
    finally:
        logger.setLevel(level)
    if loading["missing_keys"] or loading["mismatched_keys"]:
        missing = sorted(map(str, [*loading["missing_keys"], *loading["mismatched_keys"]]))
        raise BadInput(
            f"checkpoint '{checkpoint.model}' lacks {len(missing)} weights of SAM 2 (first: {missing[0]}): give one "
            "saved by transformers' Sam2Model or Sam2VideoModel"
        )
    return model
