"""SpatialFusion's side of the data (arXiv 2604.26341): text, target, and the target's metric depth with what is known
of it. The model is not part of this project.

```python
from training.spatialfusion import stream_fusion

data = stream_fusion("OUT/shards/spatialfusion/train", text="caption", rank=rank, world=world)
for batch in data.batches(4):
    batch["text"], batch["target"], batch["depth"], batch["confidence"], batch["info"]
```

Invariant: depth is only ever compared with depth of the same unit: shards whose metric maps have no unit (VGGT's own
scale) and shards in metres are told apart by `info`, and `unit="m"` refuses the former.
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
        url, split, options: as for `shards.stream`; `instruction="any"` draws among the variants.
        text: what the model is told: the target's caption, or the edit's instruction.
        unit: `m`: only metres will do; empty: any, see `info`.

    Raises:
        BadInput: no shards there, or they lack the target's metric depth or its confidence.
    """
    return FusionStream(stream(url, RECIPE, split=split, **options, records=True), text, unit)


class FusionStream:
    """Batches for SpatialFusion, in the order and with the state of the stream below."""

    def __init__(self, data: Stream, text: TextName, unit: str) -> None:
        self._data = data
        self._text = text
        self._unit = unit

    def batches(self, size: int, *, epochs: int | None = 1) -> Generator[Batch]:
        """Dicts of: text (list), source and target (B, H, W, 3) as `images` says, depth (B, H, W) float32 in `unit`, 0
        where there is none, confidence (B, H, W) float32, info and certain (lists of MapInfo: kind, unit, estimator,
        revision, min, max; of the depth and of its confidence), key, valid.

        Confidence is 0 where there is no depth. Elsewhere it is the estimator's own, larger where the depth is more
        certain (VGGT's is 1 and more, without a unit): 1 for exact depth, and where nobody estimated it.

        Raises:
            BadInput: a sample without the text or the unit that was asked for, by name.
            SpatialdataError: as `Stream.batches`.
        """
        for batch in self._data.batches(size, epochs=epochs):
            infos, certain = (
                [MapInfo.model_validate(record["maps"][name]) for record in batch["record"]]
                for name in ("metric", "confidence")
            )
            for key, words, info in zip(batch["key"], batch[self._text], infos, strict=True):
                self._check(key, words, info)
            kept = {name: batch[name] for name in ("source", "target", "key", "valid")}
            told = {"text": batch[self._text], "info": infos, "certain": certain}
            yield {**kept, **told, "depth": batch["metric"], "confidence": batch["confidence"] * (batch["metric"] > 0)}

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
