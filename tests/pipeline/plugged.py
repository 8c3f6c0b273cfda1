"""A user's package outside of the checkout: the code of docs/extending.md unchanged, and more stages."""

import re
from pathlib import Path

from tests.pipeline.releases import CHECKOUT

NAME = "mypackage"
CANNY, CAPTION = f"{NAME}.canny:Canny", f"{NAME}.caption:Caption"
_MORE = '''
from dataclasses import dataclass
from typing import ClassVar

import cv2
from spatialdata_builder.annotators.map_stage import MapStage
from spatialdata_builder.shards.sample import Reject, Row
from spatialdata_builder.shards.stage import Stage


@dataclass(frozen=True)
class Soft(MapStage):
    layer: ClassVar[str] = "soft"
    version: ClassVar[int] = 1
    member: ClassVar[str] = "webp"

    def annotate(self, image):
        return cv2.GaussianBlur(image, (5, 5), 1)


@dataclass(frozen=True)
class Bands(MapStage):
    layer: ClassVar[str] = "bands"
    version: ClassVar[int] = 1
    member: ClassVar[str] = "png"

    def annotate(self, image):
        return image[..., 0] // 64


@dataclass(frozen=True)
class Numbers(MapStage):
    layer: ClassVar[str] = "numbers"
    version: ClassVar[int] = 1
    member: ClassVar[str] = "json"

    def annotate(self, image):
        return {"mean": float(image.mean())}


@dataclass(frozen=True)
class Bare(Stage):
    """Of the target alone, without a word of `views`."""

    layer: ClassVar[str] = "line"
    needs: ClassVar[tuple[str, ...]] = ("segment",)
    version: ClassVar[int] = 1

    def __call__(self, model, samples):
        return [Row({"line": sample["segment"]["segment"]}) for sample in samples]


@dataclass(frozen=True)
class Picky(Stage):
    """A layer without a member."""

    layer: ClassVar[str] = "picky"
    needs: ClassVar[tuple[str, ...]] = ("pair",)
    version: ClassVar[int] = 1

    def __call__(self, model, samples):
        return [Reject("uid003") if "uid003" in sample.key else Row({"seen": 1}) for sample in samples]


@dataclass(frozen=True)
class Forgetful(Stage):
    layer: ClassVar[str] = "note"
    needs: ClassVar[tuple[str, ...]] = ("pair",)
    version: ClassVar[int] = 1
    member: ClassVar[str] = "txt"

    def __call__(self, model, samples):
        return [Row({"notes": "of another name"}) for sample in samples]
'''
_WRONG = """
from dataclasses import dataclass
from typing import ClassVar

from spatialdata_builder.shards.stage import Stage


class Loose:
    pass


@dataclass(frozen=True)
class Idle(Stage):
    layer: ClassVar[str] = "line"
    needs: ClassVar[tuple[str, ...]] = ("pair",)


class Plain(Stage):
    layer: ClassVar[str] = "line"
    needs: ClassVar[tuple[str, ...]] = ("pair",)
    version: ClassVar[int] = 1

    def __call__(self, model, samples):
        return []


@dataclass(frozen=True)
class Sound(Plain):
    layer: ClassVar[str] = "sound"
    member: ClassVar[str] = "wav"
"""


def worked_example() -> dict[str, str]:
    """The files of the page, by path."""
    text = (CHECKOUT / "docs" / "extending.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.S | re.M)
    return {match[1]: block for block in blocks if (match := re.match(rf"# ({NAME}/\w+\.py)\n", block))}


def write_package(root: Path) -> Path:
    """Write the package below `root`, which the caller puts on the path."""
    files = worked_example() | {f"{NAME}/__init__.py": "", f"{NAME}/more.py": _MORE, f"{NAME}/wrong.py": _WRONG}
    files |= {f"{NAME}/raises.py": "raise RuntimeError('out of order')\n", f"{NAME}/lacks.py": "import not_installed\n"}
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


OWN = (
    f"layers.caption={CAPTION}",
    f"layers.soft={NAME}.more:Soft",
    f"layers.bands={NAME}.more:Bands",
    "layers.bands.views=[target]",
    f"layers.numbers={NAME}.more:Numbers",
    f"layers.picky={NAME}.more:Picky",
)
"""A user's own layers, one of each type."""
