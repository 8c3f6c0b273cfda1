"""Create a separate environment for readers with conflicting packages: python tests/readers/set_up.py [folder].

megatron-energon, mlcroissant and timm run in `.venv-readers` in the checkout. It is layered over the environment that
runs this file: it shares its torch, but packages installed in it (scipy, which trimesh would use) do not affect the
base environment. Created once; later calls take milliseconds until this file changes.
"""

import hashlib
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".venv-readers"
READERS = ("megatron-energon==7.4.1", "mlcroissant==1.1.1")
# Installed without dependencies: torchvision would replace torch by the CUDA build for its own version.
WITHOUT_DEPENDENCIES = ("timm==1.0.31", "torchvision==0.28.0")


def main(folder: Path) -> None:
    python, stamp = folder / "bin" / "python", folder / ".made"
    state = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == state:
        return
    venv.create(folder, with_pip=True, clear=True)
    base_packages = sysconfig.get_path("purelib")
    (_packages(python) / "base_packages.pth").write_text(f"import site; site.addsitedir({base_packages!r})\n")
    _pip(python, "install", *READERS)
    _pip(python, "install", "--no-deps", *WITHOUT_DEPENDENCIES)
    subprocess.run([python, "-c", "import megatron.energon, mlcroissant"], check=True, cwd=folder)
    stamp.write_text(state)


def _packages(python: Path) -> Path:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip())


def _pip(python: Path, *arguments: str) -> None:
    subprocess.run([python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else FOLDER)
