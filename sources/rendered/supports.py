"""The stage that finds the supports of models.

Invariant: the row of a model depends on its file and on its measured `Asset`, never on other models.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

from pydantic import TypeAdapter

from ...shards.sample import Reject, Result, Row, Sample
from ...shards.stage import Stage
from ..assets.asset import Asset
from ..assets.glb import GlbError
from ..assets.height_map import TooComplex
from ..assets.mesh import read_mesh
from ..assets.supports import find_supports, to_json
from ..registry import get_scene_source
from ..source import ModelFiles

_ASSET: Final = TypeAdapter(Asset)


@dataclass(frozen=True)
class FindSupports(Stage):
    """Finds the supports of one model of a `SceneSource`, whatever its category. `Sample.spec` is an `Asset`.

    Column `supports`: JSON of `supports.to_json`.

    Rejects, which mean that nothing can stand on the model: `too_complex`; those of reading the file (`glb.GlbError`).
    """

    layer: ClassVar[str] = "supports"
    needs: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 1

    source: str
    """Kind of the source."""
    place: str = field(default="", metadata={"fingerprint": False})
    """See `SceneSource.place`."""
    batch_size: int = field(default=1, metadata={"fingerprint": False})
    cpus: float = field(default=1.0, metadata={"fingerprint": False})
    gpus: float = field(default=0.0, metadata={"fingerprint": False})

    def setup(self) -> ModelFiles:
        """Find the models. Raises BadInput on a node that does not have them."""
        return get_scene_source(self.source).models(self.place)

    def __call__(self, model: ModelFiles, samples: Sequence[Sample]) -> Sequence[Result]:
        return [_find(model, _ASSET.validate_python(sample.spec)) for sample in samples]


def _find(files: ModelFiles, asset: Asset) -> Result:
    try:
        return Row({"supports": to_json(find_supports(*read_mesh(asset, files(asset.path))))})
    except GlbError as error:
        return Reject(error.reason, detail=error.detail)
    except TooComplex as error:
        return Reject("too_complex", detail=str(error))
