"""SpatialFusion's side of the data (arXiv 2604.26341): text, target, and the target's metric depth with what is known
of it. The model is not part of this project.

```python
from training.spatialfusion import stream_fusion

data = stream_fusion("OUT/shards/full/train", text="caption", rank=rank, world=world)
for batch in data.batches(4):
    batch["text"], batch["target"], batch["depth"], batch["confidence"], batch["info"]
```

Invariant: depth is only ever compared with depth of the same unit: shards whose metric maps have no unit (VGGT's own
scale) and shards in metres are told apart by `info`, and `unit="m"` refuses the former.
"""

from collections.abc import Generator, Mapping
from typing import Any, Final, Literal

import numpy as np

from shards import stream
from shards.errors import BadInput
from shards.schema import MapInfo
from shards.streaming.dataset import Batch, Stream

TextName = Literal["caption", "instruction"]
_MEMBERS: Final = ("metric", "source", "target")


def stream_fusion(
    url: Any, *, text: TextName = "instruction", unit: Literal["", "m"] = "", split: str = "train", **options: Any
) -> "FusionStream":
    """Open shards of a recipe that has `metric`, such as `full`.

    Args:
        url, split, options: as for `shards.stream`; `instruction="any"` draws among the variants.
        text: what the model is told: the target's caption, or the edit's instruction.
        unit: `m`: only metres will do; empty: any, see `info`.

    Raises:
        BadInput: no shards there, or they lack the target's metric depth.
    """
    return FusionStream(stream(url, "full", split=split, **options, members=_MEMBERS, records=True), text, unit)


class FusionStream:
    """Batches for SpatialFusion, in the order and with the state of the stream below."""

    def __init__(self, data: Stream, text: TextName, unit: str) -> None:
        self._data = data
        self._text = text
        self._unit = unit

    def batches(self, size: int, *, epochs: int | None = 1) -> Generator[Batch]:
        """Dicts of: text (list), source and target (B, H, W, 3) as `images` says, depth (B, H, W) float32 in `unit`, 0
        where there is none, confidence (B, H, W) float32, info (list of MapInfo: kind, unit, estimator, revision), key,
        valid.

        Confidence is 1 where depth is known and 0 elsewhere: weights of a loss. Shards hold no estimator's own.

        Raises:
            BadInput: a sample without the text or the unit that was asked for, by name.
            SpatialdataError: as `Stream.batches`.
        """
        for batch in self._data.batches(size, epochs=epochs):
            infos = [MapInfo.model_validate(record["maps"]["metric"]) for record in batch["record"]]
            for key, words, info in zip(batch["key"], batch[self._text], infos, strict=True):
                self._check(key, words, info)
            depth = batch["metric"]
            kept = {name: batch[name] for name in ("source", "target", "key", "valid")}
            confidence = (depth > 0).astype(np.float32)
            yield {**kept, "text": batch[self._text], "depth": depth, "confidence": confidence, "info": infos}

    def _check(self, key: str, words: str, info: MapInfo) -> None:
        if not words:
            raise BadInput(
                f"sample {key} has no {self._text}: build with a stage that writes one, or train on "
                f"{'instruction' if self._text == 'caption' else 'caption'}s"
            )
        if info.kind != "metric" or (self._unit and info.unit != self._unit):
            found = info.unit or f"no unit ({info.estimator})"
            raise BadInput(
                f"sample {key}: its depth has {found}, not {self._unit or 'a metric kind'}: build layer metric"
            )

    def state_dict(self) -> dict[str, Any]:
        return self._data.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises BadInput where the state is of another stream."""
        self._data.load_state_dict(state)
