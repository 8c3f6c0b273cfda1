"""Source `object3dit`: the released pairs of OBJECT-3DIT, from folders or from archives that stay packed."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from ...shards.errors import BadInput
from ...shards.interop.object3dit import TASKS
from ...shards.layout import base, filesystem, join
from ..assets.sketchfab import model_page
from ..source import PairSource, PlanRow, Request, SourceOptions, root_lacks
from .scan import scan


class Object3dit(PairSource[SourceOptions]):
    kind: ClassVar[str] = "object3dit"
    options: ClassVar[type[SourceOptions]] = SourceOptions
    planned: ClassVar[tuple[str, ...]] = ()
    pair_stage: ClassVar[str] = "object3dit"
    pair_class: ClassVar[str] = "spatialdata_builder.sources.object3dit:ReadPairs"
    # Only the masks of a released pair are exact; depth and normals need a model.
    layers: ClassVar[Mapping[str, str]] = {
        "screen": "junk",
        "segment": "exact",
        "line": "exact",
        "instruction": "template",
        "checks": "geometry",
    }
    not_exact: ClassVar[Mapping[str, str]] = {
        layer: f"OBJECT-3DIT's release has no exact {layer}" for layer in ("metric", "normal", "depth")
    }
    summary: ClassVar[str] = "Released pairs of OBJECT-3DIT; all other layers were computed from them"
    terms: ClassVar[str] = (
        "The images are those of OBJECT-3DIT. The terms of that release apply in addition to those of the models, "
        "whose licenses and creators it does not name."
    )
    citation: ClassVar[str] = (
        "Michel et al., OBJECT 3DIT: Language-guided 3D-aware Image Editing, NeurIPS 2023, arXiv 2307.11073"
    )

    def root(self, options: SourceOptions) -> str:
        root = options.root
        if not root:
            raise BadInput(
                "source.root: set it to the folder of OBJECT-3DIT's tasks: --set source.root=/data/object3dit"
            )
        return root if "://" in root else str(Path(root).expanduser().absolute())

    def rows(self, request: Request[SourceOptions]) -> Iterator[PlanRow]:
        kinds = set(request.edits)
        for forwards, *backwards in TASKS.values():
            if request.invert and forwards in kinds:
                kinds -= set(backwards)  # the inverse of a released removal is that insertion
        found = scan(self.root(request.options), _indexes(request), kinds=kinds)
        yield from islice(found.rows, request.samples)
        for note in found.notes:
            request.say(note)

    def pair_arguments(self, request: Request[SourceOptions]) -> dict[str, Any]:
        return {"root": self.root(request.options), "indexes": _indexes(request)}

    def check_root(self, options: SourceOptions, specs: Sequence[Mapping[str, Any]], out: str) -> None:
        root = self.root(options)
        fs, path = filesystem(root)
        names = [str(spec.get("path") or spec["archive"]) for spec in specs]
        if not any(fs.exists(join(path, name)) or (fs.isfile(path) and base(path) == name) for name in names):
            raise root_lacks(root, "pairs", out, names[0])

    def asset_page(self, uid: str) -> str:
        return model_page(uid)


def _indexes(request: Request[SourceOptions]) -> str:
    """Folder of the seek indexes of compressed archives."""
    return f"{request.folder}/archives"
