"""Optional packages: the extra that holds each of them, and the command that installs it."""

import importlib
import importlib.util
from pathlib import Path
from typing import Any, Final

from .errors import BadInput

EXTRA_OF: Final = {
    "indexed_gzip": "build",
    "objaverse": "build",
    "ray": "build",
    "requests": "build",
    "shapely": "build",
    "trimesh": "build",
    "uv": "build",
    "onnxruntime": "annotators",
    "safetensors": "annotators",
    "huggingface_hub": "annotators",
    "torch": "annotators",
    "transformers": "annotators",
    "vllm": "vllm",
    "accelerate": "train",
    "diffusers": "train",
    "peft": "train",
    "tensorboard": "train",
    "wandb": "wandb",
    "bitsandbytes": "optimizers",
    "prodigyopt": "optimizers",
    "pytorch_optimizer": "optimizers",
    "torchao": "quantization",
    "s3fs": "s3",
    "gcsfs": "gcs",
}
"""Import name of a package: the extra of pyproject.toml that holds it."""
_CHECKOUT: Final = Path(__file__).resolve().parents[1]


def install_command(extra: str = "") -> str:
    """The command that installs an extra (empty: the base install): in a checkout, else as an installed package."""
    name = f"[{extra}]" if extra else ""
    if (_CHECKOUT / "spatialdata_builder.py").is_file():
        return f"pip install -c constraints.txt -e '.{name}'"
    return f"pip install 'spatialdata-builder{name}'"


def is_installed(package: str) -> bool:
    """Whether a top-level package can be imported; it is not imported."""
    return importlib.util.find_spec(package) is not None


def require(package: str, extra: str) -> Any:
    """Import an optional package. Raises BadInput with the command that installs it."""
    if not is_installed(package.partition(".")[0]):
        raise BadInput(f"package '{package}' is not installed: run `{install_command(extra)}`")
    return importlib.import_module(package)


def require_all(what: str, packages: tuple[str, ...], extra: str) -> None:
    """Raises BadInput that names the packages that are not installed, and the command that installs them."""
    if missing := [name for name in packages if not is_installed(name)]:
        raise BadInput(f"{what} needs {', '.join(missing)}, not installed here: run `{install_command(extra)}`")


def missing_package(error: ImportError) -> str:
    """The error message if an import failed because an optional package is not installed; empty for other errors."""
    package = str(error.name).partition(".")[0]
    extra = EXTRA_OF.get(package, "")
    if not (isinstance(error, ModuleNotFoundError) and extra):
        return ""
    return f"package '{package}' is not installed: run `{install_command(extra)}`"
