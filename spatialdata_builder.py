"""The one import package of the distribution `spatialdata-builder`.

    from spatialdata_builder import stream

In a wheel this file is the package's `__init__.py`, and `pipeline`, `evaluation`, `sources`, `annotators`, `shards` and
`training` lie beside it. In a checkout they are the top-level folders, and the lines at the end make them subpackages.
The same file serves both, so a module has the same name in both: `spatialdata_builder.shards.schema`.
"""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .shards.errors import SpatialdataError
    from .shards.reader import StoredSample, read_samples
    from .shards.streaming.dataset import Stream, stream
    from .shards.streaming.loader import torch_dataset
    from .shards.verify import Report, verify_folder

__all__ = [
    "Report",
    "SpatialdataError",
    "StoredSample",
    "Stream",
    "__version__",
    "read_samples",
    "stream",
    "torch_dataset",
    "verify_folder",
]
__version__ = "0.1.0"

_EXPORTS = {
    "Report": "shards.verify",
    "SpatialdataError": "shards.errors",
    "StoredSample": "shards.reader",
    "Stream": "shards.streaming.dataset",
    "read_samples": "shards.reader",
    "stream": "shards.streaming.dataset",
    "torch_dataset": "shards.streaming.loader",
    "verify_folder": "shards.verify",
}
"""The public names, and the modules that hold them. Importing the package loads none of these."""
_FOLDERS = ("annotators", "evaluation", "pipeline", "shards", "sources", "training")


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def adopt(folder: str) -> None:
    """Replace a top-level folder that was imported by its bare name with the subpackage. For its `__init__.py`."""
    sys.modules[folder] = importlib.import_module(f"{__name__}.{folder}")


class _Alias(ModuleSpec):
    """Finds, under the bare name of a checkout's module, the module of the package."""

    @property
    def parent(self) -> str:
        """So that relative imports work in `python -m pipeline.cli`."""
        return f"{__name__}.{super().parent or ''}".rstrip(".")


class _BareNames(MetaPathFinder, Loader):
    """`from shards import stream` in a checkout: the same module as `spatialdata_builder.shards`, never a second copy.

    A user's own `shards` or `training`, which comes first on `sys.path`, stays what it is.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in _FOLDERS:
            return None
        found = PathFinder.find_spec(fullname, path)
        if found is None or not Path(found.origin or "").is_relative_to(_ROOT):
            return None
        return _Alias(fullname, self, origin=found.origin, is_package=found.submodule_search_locations is not None)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(f"{__name__}.{spec.name}")
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to execute; undo that the import machinery has replaced the module's own specification."""
        if module.__spec__ is not None:
            module.__spec__ = module.__spec__.loader_state

    def get_code(self, fullname: str) -> CodeType | None:
        """For `python -m pipeline.cli`."""
        own = importlib.util.find_spec(f"{__name__}.{fullname}")
        loader: Any = own and own.loader
        return loader.get_code(f"{__name__}.{fullname}")


_ROOT = Path(__file__).resolve().parent
if Path(__file__).name != "__init__.py":
    __path__ = [str(_ROOT)]
    __package__ = __name__
    if __spec__ is not None:
        __spec__.submodule_search_locations = __path__
    sys.meta_path.insert(0, _BareNames())
