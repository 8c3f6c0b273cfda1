"""Environments for tests of the wheel: Python with a wheel and exactly the packages that it requires.

They are links to the packages that this environment has, so that they need neither a network nor minutes. What the
wheel requires is read from its own metadata, and `uv pip check` finds what is missing.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator, Sequence
from email import message_from_bytes
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from uv import find_uv_bin

ROOT = Path(__file__).resolve().parents[1]
INSTALLED = Path(sysconfig.get_path("purelib"))


def build_wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation"]
    run([*command, "--wheel-dir", str(folder), str(ROOT)], folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def run(command: Sequence[str], cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=clean(**environment), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clean(**environment: str) -> dict[str, str]:
    """Environment variables, without those that lead to the checkout."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return kept | environment


def install(wheel: Path, folder: Path, extras: Sequence[str] = ()) -> Path:
    """An environment with the wheel, its requirements and those of `extras`: its Python."""
    uv, python = find_uv_bin(), folder / "bin" / "python"
    run([uv, "venv", "--quiet", "--offline", "--python", sys.executable, str(folder)], folder.parent)
    packages = Path(run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder).strip())
    for name in sorted(required(requirements(wheel), extras)):
        link(metadata.distribution(name), packages, folder / "bin")
    chosen = ["--quiet", "--offline", "--no-deps", "--python", str(python)]
    run([uv, "pip", "install", *chosen, str(wheel)], folder)
    run([uv, "pip", "check", "--offline", "--python", str(python)], folder)
    return python


def requirements(wheel: Path) -> list[Requirement]:
    with zipfile.ZipFile(wheel) as file:
        (name,) = (name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        return [Requirement(text) for text in message_from_bytes(file.read(name)).get_all("Requires-Dist", [])]


def required(wanted: Sequence[Requirement], extras: Sequence[str]) -> set[str]:
    """Names of all distributions that are required, directly or not."""
    found: set[tuple[str, str]] = set()
    left = [(requirement, tuple(extras)) for requirement in wanted]
    while left:
        requirement, of = left.pop()
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *of)):
            continue
        name = canonicalize_name(requirement.name)
        fresh = {(name, extra) for extra in ("", *requirement.extras)} - found
        found |= fresh
        if fresh:
            further = [Requirement(text) for text in metadata.distribution(name).requires or ()]
            left += [(one, tuple(extra for _, extra in fresh)) for one in further]
    return {name for name, _ in found}


def link(distribution: metadata.Distribution, packages: Path, scripts: Path) -> None:
    """Link the files of a distribution: its folders in site-packages, and its programs that are no Python scripts."""
    for top in {path.parts[0] for path in distribution.files or ()} - {"..", "__pycache__"}:
        if top.endswith(".dist-info"):
            shutil.copytree(INSTALLED / top, packages / top)  # uv passes over links
        elif not (packages / top).exists():
            (packages / top).symlink_to(INSTALLED / top)
    for path in programs(distribution):
        (scripts / path.name).symlink_to(path)


def programs(distribution: metadata.Distribution) -> Iterator[Path]:
    for file in distribution.files or ():
        path = Path(str(distribution.locate_file(file))).resolve()
        if file.parts[0] == ".." and path.parent.name == "bin" and not path.read_bytes().startswith(b"#!"):
            yield path
