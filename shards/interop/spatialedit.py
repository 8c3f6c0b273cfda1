"""SpatialEdit's training layout: `<split>/<family>/worker0-000000.tar` of `<key>.0.jpg`, `<key>.1.jpg`, `<key>.json`.

The source comes first, the target last. For moves and scalings, the target's box is drawn in red on the source, and the
instruction refers to it. Families are those of its bench (`move`, `rotate`, `camera`), plus `remove` and `insert` for
edits that the bench does not have. Where the records say what objects stand on, `metadata.objects` of the JSON does so,
a key that this layout does not have (docs/formats.md). Every split is a folder in the published layout, so pass
`<out>/train` to a trainer. Invariant: the same shards give the same bytes; a tar appears under its name only when it is
complete.
"""

import json
from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, Final, assert_never

import numpy as np
from numpy.typing import NDArray

from ..codecs import decode_image, encode_image
from ..layout import join
from ..reader import StoredSample
from ..schema import EditKind, SampleRecord
from ..writer import BLOCK, member_header, publish
from .destination import Exported, claim, edited_first, find_input, finish, read_input, supports_of
from .wording import asks_for_box, bench_wording, size_text

LAYOUT: Final = "spatialedit"
SAMPLES_PER_TAR: Final = 1000
RED: Final = (255, 0, 0)
_BOX_SHARE: Final = 0.006
"""Width of the red line, as a fraction of the image's longer side; at least 2 pixels."""


def export(shards_url: str, out: str, *, samples_per_tar: int = SAMPLES_PER_TAR) -> Exported:
    """Write shards of recipe `full` (else `spatialedit`) in SpatialEdit's layout; `out` is any fsspec URL.

    A move or scaling whose object is outside the target image has no box to draw: it is skipped and counted.

    Raises:
        BadInput: no such shards, or `out` has other content than this export.
        ShardError: a shard is damaged.
    """
    found = find_input(shards_url, ("full", "spatialedit"))
    claim(out, LAYOUT, found)
    written: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    with TemporaryDirectory(prefix="spatialdata-export-") as scratch, ExitStack() as stack:
        families: dict[str, _Family] = {}
        for record, sample in read_input(found, ("source", "target")):
            if asks_for_box(record.edit.kind) and not any(record.edit.box):
                skipped["no_box"] += 1
                continue
            family = family_of(record.edit.kind)
            if family is None:
                skipped[f"no_task_for_{record.edit.kind}"] += 1
                continue
            folder = f"{record.split}/{family}"
            if folder not in families:
                local = Path(scratch) / folder.replace("/", "-")
                families[folder] = stack.enter_context(_family(join(out, folder), local, samples_per_tar))
            families[folder].add(_files(record, sample))
            written[folder] += 1
    result = Exported(written.total(), dict(sorted(written.items())), dict(sorted(skipped.items())))
    finish(out, LAYOUT, found, result)
    return result


def family_of(kind: EditKind) -> str | None:
    """The folder of an edit's samples; None where the layout has none: its bench edits one object at most."""
    match kind:
        case "translate" | "scale":
            return "move"
        case "rotate" | "camera" | "remove" | "insert":
            return kind
        case "swap":
            return None
        case _:
            assert_never(kind)


def bench_instruction(record: SampleRecord) -> str:
    """The instruction in the wording of SpatialEdit's bench, or the sample's own where the bench has none."""
    return bench_wording(record.edit, name_of(record)) or record.instruction.text


def draw_box(image: NDArray[np.uint8], box: list[int]) -> NDArray[np.uint8]:
    """A copy of an sRGB image (H, W, 3) with a red line along the inside of a box (`shards.schema.Box`)."""
    width = max(2, round(_BOX_SHARE * max(image.shape[:2])))
    x0, y0, x1, y1 = box
    drawn = image.copy()
    drawn[y0:y1, x0:x1] = RED
    inner = np.s_[y0 + width : max(y0 + width, y1 - width), x0 + width : max(x0 + width, x1 - width)]
    drawn[inner] = image[inner]
    return drawn


def name_of(record: SampleRecord) -> str:
    """What an instruction calls the edited object; `scene` for camera edits."""
    named = next((entry for entry in record.objects if entry.id in record.edit.edited), None)
    return (named.name or named.category or "object") if named else "scene"


def _human_instruction(record: SampleRecord) -> str:
    """The instruction in a person's words, true for the exported source image."""
    edit = record.edit
    match edit.kind:
        case "scale" if edit.known:
            size = size_text(edit.scale)
            return f"Make the {name_of(record)} {size}, as large as the red box, and take the red box away."
        case "translate" | "scale":
            return f"Put the {name_of(record)} where the red box is, and take the red box away."
        case "rotate" | "camera" | "remove" | "insert" | "swap":
            texts = [record.instruction.text, *record.instruction.variants]
            return next((text for text in texts if text != bench_instruction(record)), texts[0])
        case _:
            assert_never(edit.kind)


def _files(record: SampleRecord, sample: StoredSample) -> dict[str, bytes]:
    """The three members of a sample by file name."""
    source = jpeg_of(sample, "source", record.edit.box if asks_for_box(record.edit.kind) else None)
    instruction, human = bench_instruction(record), _human_instruction(record)
    content = {
        "conversations": _conversation(instruction),
        "conversations_human": _conversation(human),
        "metadata": {"instruction": instruction, "instruction_human": human, **_supports(record)},
        "meta": {"sample_id": record.key},
    }
    return {
        f"{record.key}.0.jpg": source,
        f"{record.key}.1.jpg": jpeg_of(sample, "target"),
        f"{record.key}.json": json.dumps(content, ensure_ascii=False).encode(),
    }


def _supports(record: SampleRecord) -> dict[str, Any]:
    """`objects` with what each of them stands on; empty where the record does not say so."""
    objects = edited_first(record)
    found = [
        {"name": entry.name or entry.category, **supports}
        for entry, supports in zip(objects, supports_of(objects), strict=True)
        if supports
    ]
    return {"objects": found} if found else {}


def jpeg_of(sample: StoredSample, name: str, box: list[int] | None = None) -> bytes:
    """An image of the sample as JPEG, with the box drawn if given. An unchanged JPEG is copied, not encoded again."""
    if box is None and sample.extensions[name] == "jpg":
        return sample.members[name]
    image = decode_image(sample.members[name])
    return encode_image(image if box is None else draw_box(image, box), "jpg")


def _conversation(instruction: str) -> list[dict[str, Any]]:
    return [{"from": "human", "value": f"<image>\n{instruction}"}, {"from": "gpt", "value": "<image>"}]


class _Family:
    """The tars of one folder: each is written to a local file and published when full."""

    def __init__(self, folder: str, local: Path, samples_per_tar: int) -> None:
        self._folder = folder
        self._local = local
        self._limit = samples_per_tar
        self._file: IO[bytes] | None = None
        self._samples = 0
        self._tars = 0

    def add(self, files: dict[str, bytes]) -> None:
        if self._file is None:
            self._file = self._local.open("wb")
        for name, data in sorted(files.items()):
            self._file.write(member_header(name, len(data)))
            self._file.write(data)
            self._file.write(bytes(-len(data) % BLOCK))
        self._samples += 1
        if self._samples == self._limit:
            self.publish()

    def publish(self) -> None:
        """Close the open tar, if any, and publish it under its final name."""
        if self._file is None:
            return
        self._file.write(bytes(2 * BLOCK))
        self.close()
        publish(self._local, join(self._folder, f"worker0-{self._tars:06d}.tar"))
        self._local.unlink()
        self._tars += 1
        self._samples = 0

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


@contextmanager
def _family(folder: str, local: Path, samples_per_tar: int) -> Generator[_Family]:
    """Publish the last tar when the block ends without an exception; otherwise it stays unpublished."""
    family = _Family(folder, local, samples_per_tar)
    try:
        yield family
        family.publish()
    finally:
        family.close()
