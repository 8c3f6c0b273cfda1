"""Segments by SAM 2: everything in the image by a grid of points, or the pair's known objects by their boxes.

Invariant: one label map an image (0 background, ids contiguous, larger areas first), which depends on neither the
number of images nor the number of prompts that go through the model at once, up to rounding in the model.

Everything mode follows SAM 2's automatic mask generator without crops: points of a grid, three masks each, those with
a good predicted IoU and a stable outline, of near-equal boxes the best, painted from large to small. An image is
encoded once; masks are chosen at the decoder's resolution, where the generator works at the image's, so that a
stability score may differ by a few thousandths.

Load the hub's `facebook/sam2.1-hiera-{tiny,small,base-plus,large}`, or a folder that transformers wrote.
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
_ON_GPU, _ON_CPU = 64, 4
"""Points decoded at once: SAM 2's own number, and as many as a CPU's caches hold."""


@dataclass(frozen=True)
class Sam2Segments(EstimatedMap):
    """Layer `segment` by SAM 2. Thresholds have the names and defaults of SAM 2's automatic mask generator."""

    layer: ClassVar[str] = "segment"

    model: str = "facebook/sam2.1-hiera-large"
    batch_size: int = field(default=4, metadata={"fingerprint": False})
    prompts: Literal["grid", "boxes"] = "grid"
    """`grid`: everything in the image; `boxes`: one mask for each known object in sight, without thresholds."""
    points_per_side: int = 32
    points_per_batch: int = field(default=0, metadata={"fingerprint": False})
    """Points decoded at once, halved where memory runs out; 0: 64 on a GPU, 4 on the CPU."""
    pred_iou_thresh: float = 0.8
    """Masks of which the model predicts a lower IoU go."""
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    """In logits: the outline is cut this much above and below `mask_threshold`."""
    mask_threshold: float = 0.0
    box_nms_thresh: float = 0.7
    """Of two masks whose boxes have a higher IoU, the one with the lower predicted IoU goes."""
    min_mask_region_area: int = 0
    """Pixels of the image: smaller holes and islands of a mask go."""
    min_mask_area: int = 0
    """Pixels of the image: segments of which less is visible go."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.points_per_side < 1 or self.points_per_batch < 0:
            raise BadInput(f"layers.{self.layer}: points_per_side must be 1 or more, points_per_batch 0 or more")
        if not 0 < self.box_nms_thresh <= 1 or self.stability_score_offset < 0:
            raise BadInput(f"layers.{self.layer}: box_nms_thresh must lie in 0..1, stability_score_offset be 0 or more")

    def setup(self) -> "Sam2Segmenter":
        device = pick_device(self.layer, self.gpus)
        checkpoint = find_checkpoint(self.model, self.revision, files=_FILES)
        return Sam2Segmenter(self, checkpoint, device)


@dataclass(frozen=True)
class Processor:
    """How images become the encoder's input: resized to its square, then scale * byte + shift."""

    scale: tuple[float, ...]
    """Of red, green, blue."""
    shift: tuple[float, ...]
    resample: Image.Resampling

    @classmethod
    def load(cls, folder: Path) -> "Processor":
        """As the checkpoint's image-processor configuration says; what it leaves open as SAM 2 was released."""
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
    """An image for the encoder, and its box prompts."""

    pixels: U8
    """(S, S, 3): bytes, a quarter of what floats weigh on a bus."""
    boxes: F32
    """(K, 4) in the encoder's pixels; empty for the grid."""


class Sam2Segmenter:
    """A loaded SAM 2. Raises BadInput where the checkpoint is not one."""

    def __init__(self, stage: Sam2Segments, checkpoint: Checkpoint, device: "torch.device") -> None:
        self._stage, self._checkpoint, self._device = stage, checkpoint, device
        self.network = ready_model(load_sam2(checkpoint), device, compiled=False)
        self._decoder = PointDecoder(self.network)
        if stage.compile:  # by part: the whole model's forward is never called
            self.network.vision_encoder.compile(dynamic=False)
        elif device.type == "cpu" and stage.dtype in ("auto", "float32"):
            speed_up_linears(self.network)
            speed_up_linears(self._decoder.upscaling)
        self._side = int(self.network.prompt_encoder.input_image_size)
        self._processor = Processor.load(checkpoint.folder)
        self._points_at_once = stage.points_per_batch or (_ON_GPU if device.type == "cuda" else _ON_CPU)
        self._prepare_prompts()
        # A CPU gains nothing from batches: what one image leaves in its cache is gone after the next.
        size = stage.batch_size if device.type == "cuda" else 1
        self._batches = Batches(
            self._prepare, self._forward, self._finish, size=size, threads=stage.threads, whole=stage.compile
        )

    def __call__(self, pictures: Sequence[Picture]) -> list[Mapping[str, Map]]:
        return self._batches(pictures)

    def _prepare_prompts(self) -> None:
        """What is the same for all images. In float32: bfloat16 would move points by several pixels."""
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
        """Logits (K, S / 4, S / 4) of each image's kept masks."""
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
                    logits = self._everything(own) if self._stage.prompts == "grid" else self._boxed(own, image.boxes)
                    found += to_host(logits.float()[None])
        return found

    def _everything(self, features: "list[Tensor]") -> "Tensor":
        """The grid's masks that are good, stable and not twice there, in the order of the grid."""
        stage = self._stage
        image = self._decoder.share(features, self._positions, self._dense)
        parts: list[tuple[Tensor, Tensor]] = []
        first = 0
        while first < len(self._grid):
            points = self._grid[first : first + self._points_at_once]
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
        """As `PointDecoder`; None where memory ran out: from now on, fewer points at once."""
        try:
            return self._decoder(image, points, self._stage.pred_iou_thresh)
        except Exception as error:
            if len(points) == 1 or not out_of_memory(error):
                raise
            self._points_at_once = len(points) // 2
            return None

    def _boxed(self, features: "list[Tensor]", boxes: F32) -> "Tensor":
        """One mask a box, which a box says without ambiguity."""
        import torch

        if len(boxes) == 0:
            return features[0].new_zeros((0, self._side // 4, self._side // 4))
        given = torch.from_numpy(boxes)[None].to(self._device)
        with torch.autocast(self._device.type, enabled=False):
            sparse, dense = self.network.prompt_encoder(None, None, given, None)
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
    """Boxes (K, 4) of the objects in sight, first and last pixel, in an encoder's pixels of `side` x `side`."""
    width, height = picture.size
    boxes = [thing.source_box if picture.view == "source" else thing.target_box for thing in picture.objects]
    given = np.array([box for box in boxes if any(box)], np.float32).reshape(-1, 4)
    # SAM's boxes end with the last pixel, ours after it.
    given[:, 2:] -= 1
    return given * np.array([side / width, side / height] * 2, np.float32)


def load_sam2(checkpoint: Checkpoint) -> Any:
    """A `transformers.Sam2Model` in float32. Raises BadInput where weights are missing or do not fit."""
    transformers = require("transformers", "annotators")
    require("torch", "annotators")
    # Released checkpoints hold the video model too, of which transformers warns at each load.
    logger = logging.getLogger("transformers.configuration_utils")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        model, loading = transformers.Sam2Model.from_pretrained(
            checkpoint.folder, output_loading_info=True, dtype="float32", local_files_only=True
        )
    except Exception as error:  # transformers raises many kinds: no configuration, another model's, damaged weights
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise BadInput(f"checkpoint '{checkpoint.model}' is no SAM 2 that transformers can load: {reason}") from None
    finally:
        logger.setLevel(level)
    if loading["missing_keys"] or loading["mismatched_keys"]:
        lacking = sorted(map(str, [*loading["missing_keys"], *loading["mismatched_keys"]]))
        raise BadInput(
            f"checkpoint '{checkpoint.model}' lacks {len(lacking)} weights of SAM 2 (first: {lacking[0]}): give one "
            "that transformers' Sam2Model or Sam2VideoModel wrote"
        )
    return model
