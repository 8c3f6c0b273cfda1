"""Models of other formats as GLB files, converted by Blender on first use, into a folder that builds share.

    CACHE/<2>/<digest>.glb      the converted model
    CACHE/<2>/<digest>.json     {path relative to the model's folder: [bytes, modified]} of textures and material files

The digest covers the model's path below the root, its bytes, and the Blender that converts.

Invariant: a file appears under its name only when it is complete, so a stopped conversion leaves nothing that counts,
and two processes that convert the same model do no harm. A model whose textures changed is converted again.
"""

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Final

from ..assets.glb import MAX_BYTES, GlbError
from ..blender.environment import requirements
from ..blender.process import SCRIPT
from ..blender.render import AssetError, Renderer, RenderTimeout, SceneError
from ..scenes.spec import RenderOptions

_VERSION: Final = 2
"""To be increased with every change of `sources/blender/convert.py` that alters its output."""


class Converter:
    """Converts the models below a root. Blender starts with the first model that is not in the cache."""

    def __init__(self, root: Path, cache: Path, blender: str, timeout_s: float) -> None:
        self._root, self._cache = root, cache
        self._renderer = Renderer(RenderOptions(blender=blender, timeout_s=timeout_s, device="cpu"))
        self._blender = blender or " ".join(requirements(SCRIPT)[1])
        self._digests: dict[tuple[str, int, int], str] = {}

    def converted(self, path: str) -> Path:
        """The GLB of the model at `path` below the root.

        Raises:
            GlbError: `missing_file`, `too_large`, or, from Blender, `not_converted`, `no_geometry`,
                `missing_textures`.
        """
        file = self._root / path
        if not file.is_file():
            raise GlbError("missing_file", "there is no such file")
        if (size := file.stat().st_size) > MAX_BYTES:
            raise GlbError("too_large", f"{size} bytes, at most {MAX_BYTES}")
        digest = self._digest(path, file)
        target = self._cache / digest[:2] / f"{digest}.glb"
        if not (target.is_file() and _unchanged(file.parent, target.with_suffix(".json"))):
            self._convert(file, target)
        return target

    def _digest(self, path: str, file: Path) -> str:
        status = file.stat()
        key = (path, status.st_size, status.st_mtime_ns)
        if key not in self._digests:
            with file.open("rb") as data:
                content = hashlib.file_digest(data, "sha256").hexdigest()
            whole = json.dumps([_VERSION, self._blender, path, content])
            self._digests[key] = hashlib.sha256(whole.encode()).hexdigest()[:32]
        return self._digests[key]

    def _convert(self, file: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".converting-", dir=target.parent) as folder:
            made = Path(folder, target.name)
            try:
                others = self._renderer.convert(file, self._root, made)
            except AssetError as error:
                raise GlbError(error.reason, str(error)) from None
            except RenderTimeout:
                limit = self._renderer.options.timeout_s
                raise GlbError("not_converted", f"Blender took more than {limit:g} s (render.timeout_s)") from None
            except SceneError as error:
                raise GlbError("not_converted", " ".join(str(error).split())[:300]) from None
            record = made.with_suffix(".json")
            record.write_text(json.dumps({os.path.relpath(other, file.parent): _state(other) for other in others}))
            made.replace(target)
            record.replace(target.with_suffix(".json"))


def _state(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]


def _unchanged(folder: Path, record: Path) -> bool:
    """Whether the other files of a model are as they were when it was converted."""
    try:
        files: dict[str, list[int]] = json.loads(record.read_text())
        return all(_state(folder / name) == state for name, state in files.items())
    except (OSError, ValueError):
        return False
