"""Source `png_pairs`: removals from a folder of pictures, `<split>/<name>/{before,after,object}.png`.

`object.png` is white where `before.png` shows the object that `after.png` lacks. The folder's name says what it is:
`mug-0004`.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.schema import SPLITS
from spatialdata_builder.sources.source import PairSource, PlanRow, Request, SourceOptions, root_lacks


class PngOptions(SourceOptions):
    pattern: str = Field(default="*", description="png_pairs: names of the pairs to use, such as `mug-*`")


class PngPairs(PairSource[PngOptions]):
    kind: ClassVar[str] = "png_pairs"
    options: ClassVar[type[SourceOptions]] = PngOptions
    planned: ClassVar[tuple[str, ...]] = ("pattern",)
    pair_stage: ClassVar[str] = "png_pairs"
    pair_class: ClassVar[str] = "tests.sources.png_pairs.pairs:ReadPngs"
    layers: ClassVar[Mapping[str, str]] = {
        "screen": "junk",
        "segment": "exact",
        "instruction": "template",
        "checks": "geometry",
    }
    not_exact: ClassVar[Mapping[str, str]] = {
        layer: f"pictures hold no exact {layer}" for layer in ("metric", "normal", "depth", "line")
    }
    summary: ClassVar[str] = "Pairs of pictures with and without an object, read from PNG files"
    terms: ClassVar[str] = "The pictures are the photographer's."
    citation: ClassVar[str] = "Doe, Pairs of Pictures, 2026"

    def root(self, options: PngOptions) -> str:
        if not options.root:
            raise BadInput("source.root: give the folder of the pictures: --set source.root=/data/pictures")
        return str(Path(options.root).expanduser().absolute())

    def rows(self, request: Request[PngOptions]) -> Iterator[PlanRow]:
        root = Path(self.root(request.options))
        found = (
            PlanRow(f"{split}-{pair.name}", split, {"edit": "remove", "path": f"{split}/{pair.name}"})
            for split in SPLITS
            for pair in sorted((root / split).glob(request.options.pattern))
            if "remove" in request.edits
        )
        return islice(found, request.samples)

    def pair_arguments(self, request: Request[PngOptions]) -> dict[str, Any]:
        return {"root": self.root(request.options)}

    def check_root(self, options: PngOptions, specs: Sequence[Mapping[str, Any]], out: str) -> None:
        root, paths = self.root(options), [str(spec["path"]) for spec in specs]
        if not any((Path(root) / path).is_dir() for path in paths):
            raise root_lacks(root, "pairs", out, paths[0])
