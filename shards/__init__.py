"""The format of a sample and its storage in shards. Imports no other package of this project.

`from shards import stream` opens shards for training. Everything else is imported from the modules: `schema` and
`sample` (the contracts), `codecs` and `geometry` (bytes and frames), `recipes`, `layout` (names), `writer`, `index`,
`reader`, `verify` and `streaming`. Importing this package loads no module, so it is fast.
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
