"""Data for SpatialFusion (arXiv 2604.26341): text, target, and the target's metric depth with its unit, estimator and
confidence. The model is not part of this project.

```python
from spatialdata_builder.training.spatialfusion import stream_fusion

data = stream_fusion("OUT/shards/spatialfusion/train", text="caption", rank=rank, world=world)
for batch in data.batches(4):
    batch["text"], batch["target"], batch["depth"], batch["confidence"], batch["info"]
```

Invariant: units are never mixed silently. `info` says whether depth is in meters or has no unit (VGGT's own scale);
`unit="m"` raises an error for depth without a unit.
"""

from collections.abc import Generator, Mapping
from typing import Any, Final, Literal

from ..shards import stream
from ..shards.errors import BadInput
from ..shards.schema import MapInfo
from ..shards.streaming.dataset import Batch, Stream

TextName = Literal["caption", "instruction"]
RECIPE: Final = "spatialfusion"


def stream_fusion(
    url: Any, *, text: TextName = "instruction", unit: Literal["", "m"] = "", split: str = "train", **options: Any
) -> "FusionStream":
    """Open shards of the recipe `spatialfusion`.

    Args:
        url, split, options: as for `shards.stream`; `instruction="any"` draws one of the variants.
        text: the model's text input: the target's caption or the edit's instruction.
        unit: `m`: accept only meters; empty: accept any unit, see `info`.

    Raises:
        BadInput: no shards at `url`, or they lack the target's metric depth or its confidence.
    """
    return FusionStream(stream(url, RECIPE, split=split, **options, records=True), text, unit)


class FusionStream:
    """Batches for SpatialFusion, in the order and with the state of the underlying stream."""

    def __init__(self, data: Stream, text: TextName, unit: str) -> None:
        self._data = data
        self._text = text
        self._unit = unit

    def batches(self, size: int, *, epochs: int | None = 1) -> Generator[Batch]:
        """Dicts of: text (list); source and target (B, H, W, 3) as `images` says; depth (B, H, W) float32 in the unit
        of `info`, 0 where there is none; confidence (B, H, W) float32; info and certain (lists of MapInfo: kind, unit,
        estimator, revision, min, max; of the depth and of its confidence); key; valid.

        Confidence is 0 where there is no depth. Elsewhere it is the estimator's own: larger means more certain (VGGT's
        is at least 1 and has no unit). It is 1 for exact depth and where no confidence was estimated.

        Raises:
            BadInput: a sample without the requested text or unit; the message names the sample.
            SpatialdataError: as `Stream.batches`.
        """
        for batch in self._data.batches(size, epochs=epochs):
            infos, certain = (
                [MapInfo.model_validate(record["maps"][name]) for record in batch["record"]]
                for name in ("metric", "confidence")
            )
            for key, text, info in zip(batch["key"], batch[self._text], infos, strict=True):
                self._check(key, text, info)
            yield {
                **{name: batch[name] for name in ("source", "target", "key", "valid")},
                "text": batch[self._text],
                "info": infos,
                "certain": certain,
                "depth": batch["metric"],
                "confidence": batch["confidence"] * (batch["metric"] > 0),
            }

    def _check(self, key: str, text: str, info: MapInfo) -> None:
        if not text:
            raise BadInput(
                f"sample {key} has no {self._text}: build with a stage that writes one, or use "
                f'text="{"instruction" if self._text == "caption" else "caption"}"'
            )
        if info.kind != "metric" or (self._unit and info.unit != self._unit):
            unit = f"in {info.unit}" if info.unit else "without a unit"
            needed = f"metric depth in {self._unit}" if self._unit else "metric depth"
            raise BadInput(
                f"sample {key} has {info.kind} depth {unit} (estimator {info.estimator}), but {needed} is needed: "
                "build layer metric with an estimator that gives it"
            )

    def state_dict(self) -> dict[str, Any]:
        return self._data.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises BadInput if the state is of another stream."""
        self._data.load_state_dict(state)
