"""The pair stage of source `png_pairs`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spatialdata_builder.shards import codecs
from spatialdata_builder.shards.geometry import box_of_mask
from spatialdata_builder.shards.sample import Columns, Reject, Result, Row, Sample
from spatialdata_builder.shards.schema import Camera, Edit, EditKind, Measures, PairFacts, SceneObject, View
from spatialdata_builder.shards.stage import Stage
from spatialdata_builder.sources.changed_region import find_changed
from spatialdata_builder.sources.derived import inverted_columns, is_derived

UNKNOWN = View(known=False, focal="unknown", K=[0.0] * 9, world_from_camera=[0.0] * 16)


@dataclass(frozen=True)
class Picture:
    rgb: NDArray[np.uint8]
    instances: NDArray[np.uint8]
    noisy: None = None


@dataclass(frozen=True)
class ReadPngs(Stage):
    """Reads what `PngPairs.rows` planned, and its inverses."""

    layer: ClassVar[str] = "pair"
    needs: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 1

    root: str = field(metadata={"fingerprint": False})
    batch_size: int = field(default=8, metadata={"fingerprint": False})
    cpus: float = field(default=1.0, metadata={"fingerprint": False})
    gpus: float = field(default=0.0, metadata={"fingerprint": False})

    def setup(self) -> Path:
        return Path(self.root)

    def __call__(self, model: Path, samples: Sequence[Sample]) -> Sequence[Result]:
        return [self._read(model / str(sample.spec["path"]), sample) for sample in samples]

    def _read(self, folder: Path, sample: Sample) -> Result:
        try:
            before, after, mask = (
                codecs.decode_image((folder / f"{name}.png").read_bytes()) for name in ("before", "after", "object")
            )
        except (OSError, codecs.CodecError) as error:
            return Reject("unreadable", detail=str(error))
        labels = (mask[..., 0] > 127).astype(np.uint8)
        empty = np.zeros_like(labels)
        changed = find_changed(Picture(before, labels), Picture(after, empty), (1,))
        measures = Measures(changed_fraction=changed.fraction, psnr_unchanged=changed.psnr_unchanged)
        box = box_of_mask(labels == 1)

        def facts(kind: EditKind) -> PairFacts:
            boxes = (box, [0] * 4) if kind == "remove" else ([0] * 4, box)
            return _facts(kind, folder.name.rpartition("-")[0], boxes, measures)

        columns: Columns = {
            "source": codecs.encode_image(before),
            "target": codecs.encode_image(changed.target_rgb),
            "source_instances": codecs.encode_labels(labels),
            "target_instances": codecs.encode_labels(empty),
            "changed": codecs.encode_mask(changed.mask),
            **dict.fromkeys(("source_parts", "parts", "source_metric", "metric", "source_normal", "normal"), b""),
            "facts": facts("remove").model_dump_json(),
        }
        return Row(inverted_columns(columns, facts("insert")) if is_derived(sample) else columns)


def _facts(kind: EditKind, noun: str, boxes: tuple[list[int], list[int]], measures: Measures) -> PairFacts:
    unknown: dict[str, Any] = {"known": False, "size_m": [0.0] * 3}
    poses = {"source_pose": [0.0] * 16, "target_pose": [0.0] * 16}
    seen = {"source_box": boxes[0], "target_box": boxes[1], "source_visible": 0.0, "target_visible": 0.0}
    named = {"name": noun, "category": noun, "asset": noun, "licence": "cc0", "creator": "Doe"}
    return PairFacts(
        dataset="png_pairs",
        edit=Edit(
            kind=kind,
            known=True,
            object=1,
            translation=[0.0] * 3,
            rotation_deg=0.0,
            view="",
            scale=1.0,
            yaw_deg=0.0,
            pitch_deg=0.0,
            zoom=1.0,
            box=boxes[1],
        ),
        camera=Camera(source=UNKNOWN, target=UNKNOWN),
        objects=[SceneObject(id=1, **named, **unknown, **poses, **seen)],
        measures=measures,
    )
