"""Check this machine, with a fix for each problem. Changes nothing except uv's own cache."""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...shards.errors import BadInput, SpatialdataError
from ...shards.extras import install_command
from ...shards.layout import filesystem, is_local

State = Literal["ok", "missing", "optional"]
BASE = ("numpy", "pillow", "opencv-python-headless", "pyarrow")
BUILD = ("ray", "trimesh", "shapely", "uv")
EXTRAS = {"torch": "annotators", "transformers": "annotators", "vllm": "vllm", "diffusers": "train", "s3fs": "s3"}
WEIGHTS = (
    "Qwen/Qwen3-VL-32B-Instruct",
    "depth-anything/Depth-Anything-V2-Large-hf",
    "onnx-community/metric3d-vit-large",
    "facebook/sam2.1-hiera-large",
    "lllyasviel/Annotators",
)
"""The default checkpoints of the model stages."""


@dataclass(frozen=True)
class Finding:
    """Result of one check. `mend`, a key of the `--json` output, is the fix if the state is not ok."""

    name: str
    state: State
    detail: str
    mend: str = ""


def examine(out: str = "", blender: str = "") -> list[Finding]:
    """Check the interpreter, packages, Blender, GPU, weights, memory and disk.

    Args:
        out: output folder of a planned build, whose disk is checked; empty: the current folder.
        blender: a Blender executable to check instead of the bpy package.
    """
    checks: tuple[Callable[[], list[Finding]], ...] = (
        _python,
        _packages,
        _extras,
        _onnxruntime,
        lambda: [_blender(blender)],
        lambda: [_gpu()],
        _weights,
        lambda: [_disk(out)],
        lambda: [_shared_memory()],
    )
    return [finding for check in checks for finding in check()]


def _python() -> list[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    good = (3, 11) <= sys.version_info < (3, 14)
    return [Finding("python", "ok" if good else "missing", version, "" if good else "use Python 3.11, 3.12 or 3.13")]


def _packages() -> list[Finding]:
    base = [_package(name, "missing", install_command()) for name in BASE]
    return base + [_package(name, "missing", install_command("build")) for name in BUILD]


def _extras() -> list[Finding]:
    return [_package(name, "optional", install_command(extra)) for name, extra in EXTRAS.items()]


def _onnxruntime() -> list[Finding]:
    """Check which of the two packages with this module works: one is for CPUs, one for GPUs."""
    if importlib.util.find_spec("onnxruntime") is None:
        return [Finding("onnxruntime", "optional", "not installed", install_command("annotators"))]
    code = "import onnxruntime; print(onnxruntime.__version__, *onnxruntime.get_available_providers())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, errors="replace", timeout=60, check=False
    )
    if done.returncode:
        return [Finding("onnxruntime", "optional", done.stderr.strip()[-120:], "reinstall it")]
    return [Finding("onnxruntime", "ok", done.stdout.strip())]


def _package(name: str, absent: State, fix: str) -> Finding:
    try:
        return Finding(name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, absent, "not installed", fix)


def _blender(executable: str) -> Finding:
    from ...sources.blender.render import Renderer
    from ...sources.scenes.spec import RenderOptions

    try:
        with Renderer(RenderOptions(blender=executable)) as renderer:
            return Finding(
                "blender", "ok", ", ".join(f"{name} {version}" for name, version in renderer.versions.items())
            )
    except SpatialdataError as error:
        return Finding("blender", "missing", str(error), "connect to a package index once, or set render.blender")


def _gpu() -> Finding:
    program = shutil.which("nvidia-smi")
    if program is None:
        return Finding("gpu", "optional", "none found: rendering and models run on the CPU")
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, errors="replace", timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        words = getattr(error, "stderr", None) or getattr(error, "stdout", None) or str(error)
        return Finding("gpu", "optional", f"nvidia-smi failed: {str(words).strip()[:120]}", "check the driver")
    return Finding("gpu", "ok", "; ".join(done.stdout.strip().splitlines()))


def _weights() -> list[Finding]:
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface")) / "hub"
    findings: list[Finding] = []
    for model in WEIGHTS:
        folder = home / f"models--{model.replace('/', '--')}" / "snapshots"
        state: State = "ok" if folder.is_dir() and any(folder.iterdir()) else "optional"
        fix = "" if state == "ok" else f"hf download {model}"
        findings.append(Finding(f"weights {model}", state, str(folder) if state == "ok" else "not in the cache", fix))
    return findings


def _disk(out: str) -> Finding:
    try:
        fs, path = filesystem(out or ".")
    except BadInput as error:
        return Finding("disk", "missing", str(error), "choose another --out")
    if not is_local(fs):
        return Finding("disk", "ok", f"{out} is remote: its free space is not known")
    folder = Path(path)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**30
    writable = os.access(folder, os.W_OK)
    detail = f"{free:.1f} GiB free at {folder}" + ("" if writable else ", not writable")
    good = free > 2 and writable
    return Finding("disk", "ok" if good else "missing", detail, "" if good else "choose another --out")


def _shared_memory() -> Finding:
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return Finding("shared memory", "optional", "none: the renderer passes arrays through the temporary folder")
    free = shutil.disk_usage(folder).free / 2**20
    good = free > 256
    fix = "" if good else "in a container: --shm-size=1g"
    return Finding("shared memory", "ok" if good else "missing", f"{free:.0f} MiB free", fix)
