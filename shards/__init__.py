"""Ground floor: what a sample is, and how it lies on disk. Imports nothing of ours.

`from shards import stream` opens shards for training. The rest is imported from the modules: `schema` and `sample`
(the contracts), `codecs` and `geometry` (bytes and frames), `recipes`, `layout` (names), `writer`, `index`, `reader`,
`verify` and `streaming`. This package itself loads nothing, so that it costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .streaming.dataset import Stream, stream

__all__ = ["Stream", "stream"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from .streaming import dataset

        return getattr(dataset, name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


if __name__ == "shards":
    __import__("spatialdata_builder").adopt(__name__)  # the folder of a checkout, under its bare name
