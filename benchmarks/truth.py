"""Counts accepted samples whose texts name colors or sizes that contradict pixels or geometry.

    python benchmarks/truth.py OUT [OUT ...]

Each OUT is a build with shards of recipe `full`. For every object that a text (instruction, variants, captions) names,
each color word is compared with the object's pixels in the image of that text, and each size word with the sizes of
objects of the same noun. Every factor in the text of a scaling is compared with the edit, and every object's extent
with what fits in a room. Prints the numbers of claims and contradictions, and each contradiction with its key. Exit
code 1 if there is a contradiction. The rules are simple and tolerant, and share no code with the checks of the build:
regions of CIELAB, and the record's `size_m` and poses.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from spatialdata_builder.shards import codecs
from spatialdata_builder.shards.index import read_manifest
from spatialdata_builder.shards.layout import find_splits, join
from spatialdata_builder.shards.reader import StoredSample, read_record, read_samples
from spatialdata_builder.shards.schema import SampleRecord, SceneObject

HUES = {
    "red": (335, 60),
    "pink": (290, 60),
    "orange": (25, 95),
    "brown": (10, 105),
    "beige": (20, 120),
    "cream": (20, 125),
    "tan": (20, 110),
    "gold": (45, 120),
    "golden": (45, 120),
    "yellow": (60, 125),
    "olive": (75, 150),
    "green": (85, 210),
    "turquoise": (150, 270),
    "teal": (150, 270),
    "blue": (185, 325),
    "lavender": (250, 350),
    "purple": (265, 360),
    "violet": (265, 360),
}
"""Hue ranges (from, to) in degrees in the a*b* plane, counter-clockwise. Colored light shifts a hue by up to 20
degrees."""
GRAYS = {"black": (0, 50), "gray": (8, 92), "grey": (8, 92), "silver": (15, 95), "white": (40, 100)}
"""Minimum and maximum L* of the median pixel."""
LEAST_CHROMA, MOST_GRAY_CHROMA = 5.0, 34.0
SMALLEST_M, LARGEST_M = 0.01, 5.0
SIZES = {"larger": 1, "largest": 1, "bigger": 1, "biggest": 1, "smaller": -1, "smallest": -1}


@dataclass(frozen=True)
class Claim:
    """One word of a text, and what contradicts it (empty if nothing does)."""

    kind: str
    text: str
    word: str
    fault: str


def color_fault(word: str, shade: str, pixels: NDArray[np.uint8]) -> str:
    """How the pixels (N, 3), sRGB, contradict a color word; empty if they do not. `shade` is the word before it: only
    `light` and `dark` matter."""
    lab = cv2.cvtColor(np.float32(pixels.reshape(1, -1, 3) / 255), cv2.COLOR_RGB2LAB)[0]
    lightness, a, b = np.median(lab, axis=0)
    chroma, hue = float(np.hypot(a, b)), float(np.degrees(np.arctan2(b, a)) % 360)
    measured = f"L {lightness:.0f}, chroma {chroma:.0f}, hue {hue:.0f}"
    if (shade == "light" and lightness < 35) or (shade == "dark" and lightness > 65):
        return measured
    if word in GRAYS:
        least, most = GRAYS[word]
        return "" if least <= lightness <= most and chroma <= MOST_GRAY_CHROMA else measured
    start, end = HUES[word]
    inside = (hue - start) % 360 <= (end - start) % 360
    return "" if inside and chroma >= LEAST_CHROMA else measured


def size(item: SceneObject) -> float:
    """Geometric mean of an object's extents in the source (or in the target if it is not visible there), in meters."""
    pose = item.source_pose if item.source_visible else item.target_pose
    return float(np.cbrt(np.prod(item.size_m))) * float(np.linalg.norm(np.reshape(pose, (4, 4))[:3, 0]))


def claims(record: SampleRecord, stored: StoredSample) -> Iterator[Claim]:
    """All claims about colors and sizes in the texts of a sample."""
    images = {view: codecs.decode_image(stored.members[view]) for view in ("source", "target")}
    labels = {view: codecs.decode_labels(stored.members[f"{view}_instances"]) for view in images}
    source_texts = [record.instruction.text, *record.instruction.variants, record.source_caption]
    for view, texts in (("source", source_texts), ("target", [record.caption])):
        for text in dict.fromkeys(texts):
            for item in record.objects:
                if not re.search(rf"\b{re.escape(item.name)}\b", text, re.I):
                    continue
                where = view if (labels[view] == item.id).any() else "target"
                mask = labels[where] == item.id
                if mask.any():
                    yield from _named(item, record, text, images[where][mask])
    if record.edit.kind == "scale":
        for text in dict.fromkeys([record.instruction.text, *record.instruction.variants]):
            yield from _factor(text, record.edit.scale)
    for item in record.objects:
        extent = max(item.size_m)
        fault = "" if not item.known or SMALLEST_M <= extent <= LARGEST_M else f"{extent:.3g} m"
        yield Claim("extent", item.name, item.category, fault)


def _named(item: SceneObject, record: SampleRecord, text: str, pixels: NDArray[np.uint8]) -> Iterator[Claim]:
    words = item.name.lower().split()
    noun = words[-1]
    for index, word in enumerate(words[:-1]):
        if word in HUES or word in GRAYS:
            yield Claim("color", text, item.name, color_fault(word, words[index - 1] if index else "", pixels))
        if word in SIZES and item.known:
            others = [size(o) for o in record.objects if o.id != item.id and o.source_visible and o.name.endswith(noun)]
            wrong = [other for other in others if SIZES[word] * (size(item) - other) <= 0]
            yield Claim("size", text, item.name, f"{size(item):.2f} m, other {wrong[0]:.2f} m" if wrong else "")


def _factor(text: str, scale: float) -> Iterator[Claim]:
    for number in re.findall(r"(\d+(?:\.\d+)?) times", text):
        factor = float(number)
        near = min(abs(factor / scale - 1), abs(factor * scale - 1))
        yield Claim("factor", text, number, "" if near < 0.15 else f"scale {scale:.2f}")


@click.command()
@click.argument("outs", nargs=-1, required=True)
def main(outs: tuple[str, ...]) -> None:
    """Count claims and contradictions in the accepted samples of builds."""
    samples = 0
    counts: Counter[str] = Counter()
    wrong: list[tuple[str, Claim]] = []
    for out in outs:
        for folder in find_splits(join(out, "shards/full")):
            for shard in read_manifest(folder.url).shards:
                for stored in read_samples(join(folder.url, shard.name)):
                    samples += 1
                    for claim in claims(read_record(stored.members["json"]), stored):
                        counts[claim.kind] += 1
                        wrong += [(f"{out} {stored.key}", claim)] if claim.fault else []
    for place, claim in wrong:
        click.echo(f"{place}: '{claim.word}': {claim.fault}  ({claim.text})")
    faults = Counter(claim.kind for _, claim in wrong)
    bad = len({place for place, _ in wrong})
    click.echo(f"{samples} accepted samples, {bad} of them with a contradiction")
    for kind, count in sorted(counts.items()):
        click.echo(f"{kind}: {count} claims, {faults[kind]} contradicted")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
