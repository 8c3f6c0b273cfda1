"""The stage that reads released pairs and their facts.

The source image keeps its pixels. Masks identify the objects. Numbers that the release does not have (poses, sizes,
meters) are zeros with `known: false`. The two images were rendered separately, so they differ by noise everywhere:
`changed` is the region in which they differ by more than the noise. Outside it, pixels of the source replace those of
the target, as the format requires (on 36 measured pairs, the PSNR of the replaced pixels was 57 to 69 dB; the value of
each pair is in `measures.psnr_unchanged`). Near the border of the region the two are blended, which changes the target
by at most 7 levels of 255 on these pairs. With `unchanged: keep` no pixel is replaced, and `changed` is every pixel
that differs.

A broken sample becomes a reject that states the problem; no other sample takes its place.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, ClassVar, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from ...shards import codecs
from ...shards.errors import BadInput
from ...shards.geometry import EQUAL_DB
from ...shards.interop.object3dit import CAPTIONS, FILES, METADATA, Task, is_backwards, task_of
from ...shards.interop.set1 import MaskError, read_mask
from ...shards.layout import filesystem, is_local, join
from ...shards.sample import Columns, Reject, Result, Row, Sample
from ...shards.schema import EditKind, PairFacts
from ...shards.stage import Stage
from ..changed_region import Changed, find_changed
from ..derived import inverted_columns, is_derived, origin_rejected, origins_of
from .archive import MAX_MEMBER, Archive, Range, is_archive
from .facts import Images, Metadata, NoName, make_facts, read_metadata
from .scan import plain_file

MAX_SIDE: Final = 4096
"""Most pixels per side of an image; released images have 256."""
LONGEST_CAPTION: Final = 500
"""Most characters of a caption, which is a phrase or a sentence; longer ones are ignored."""
MAX_CAPTIONS: Final = 64 * 2**20
EDITED: Final = 1
"""Label of the edited object in every mask of the release."""
_MAPS: Final = ("source_parts", "parts", "source_metric", "metric", "source_normal", "normal")


@dataclass(frozen=True)
class _View:
    """One image for `find_changed`. `noisy` is None, because released images were rendered with different seeds."""

    rgb: NDArray[np.uint8]
    instances: NDArray[np.uint8]
    noisy: None = None


@dataclass(frozen=True)
class _Pair:
    """The row of a pair, and what its inverse is derived from."""

    metadata: Metadata
    images: Images
    row: Row


class _Broken(Exception):
    """A sample that cannot be used."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Release:
    """A copy of the release, open for reading in one worker."""

    def __init__(self, root: str, indexes: str) -> None:
        """Raises BadInput if the root does not exist, or its captions are not JSON."""
        self._root = root
        self._indexes = indexes
        self._fs, self._path = filesystem(root)
        if not self._fs.exists(self._path):
            raise BadInput(f"source.root {root} does not exist on this node")
        self._archives: dict[str, Archive] = {}
        self._captions = self._read_captions()

    def caption(self, asset: str) -> str:
        """The release's caption of an asset; empty if it has none."""
        entry = self._captions.get(asset)
        text: Any = cast("Mapping[str, Any]", entry).get("description") if isinstance(entry, Mapping) else entry
        return text.strip() if isinstance(text, str) and len(text) <= LONGEST_CAPTION and text.isprintable() else ""

    def files(self, spec: Mapping[str, Any]) -> dict[str, bytes]:
        """The existing files of one sample by name. Raises OSError, BadInput."""
        if "archive" not in spec:
            return self._files_of_folder(f"{self._path.rstrip('/')}/{spec['path']}")
        name, digest = str(spec["archive"]), str(spec["digest"])
        if name not in self._archives:
            url = self._root if is_archive(self._root) else join(self._root, name)
            self._archives[name] = Archive(url, digest, self._indexes)
        places: dict[str, Range] = {name: (place[0], place[1]) for name, place in spec["members"].items()}
        return self._archives[name].read(places)

    def _files_of_folder(self, folder: str) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for name in FILES:
            path = f"{folder}/{name}"
            if is_local(self._fs) and os.path.lexists(path) and not plain_file(self._fs, self._path, path):
                raise _Broken("unreadable", f"{name} is not a plain file of the release: a link out of it, or a pipe")
            try:
                with self._fs.open(path, "rb") as file:
                    found[name] = file.read(MAX_MEMBER + 1)
            except FileNotFoundError:
                continue
            if len(found[name]) > MAX_MEMBER:
                raise _Broken("file_too_large", f"{path} has over {MAX_MEMBER} bytes")
        return found

    def _read_captions(self) -> Mapping[str, Any]:
        above = PurePosixPath(self._path)
        for folder in (above, above.parent):
            path = str(folder / CAPTIONS)
            if self._fs.isfile(path):
                try:
                    if not plain_file(self._fs, str(folder), path) or self._fs.size(path) > MAX_CAPTIONS:
                        raise ValueError(f"a link out of its folder, or over {MAX_CAPTIONS} bytes")
                    captions = json.loads(self._fs.cat_file(path))
                except (ValueError, RecursionError) as error:
                    raise BadInput(f"{path} is not JSON ({error}): fetch it again, or remove it") from error
                return captions if isinstance(captions, dict) else {}
        return {}


@dataclass(frozen=True)
class ReadPairs(Stage):
    """Reads released OBJECT-3DIT pairs, as `scan` planned them."""

    layer: ClassVar[str] = "pair"
    needs: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 4
    families: ClassVar[bool] = True

    root: str = field(metadata={"fingerprint": False})
    indexes: str = field(default="", metadata={"fingerprint": False})
    """Folder of the archives' seek indexes, as given to `scan`."""
    unchanged: Literal["copy", "keep"] = "copy"
    batch_size: int = field(default=8, metadata={"fingerprint": False})
    cpus: float = field(default=1.0, metadata={"fingerprint": False})
    gpus: float = field(default=0.0, metadata={"fingerprint": False})

    def setup(self) -> Release:
        """Open the release and read its captions. Raises BadInput."""
        return Release(self.root, self.indexes)

    def __call__(self, model: Release, samples: Sequence[Sample]) -> Sequence[Result]:
        results: list[Result] = []
        pairs: dict[str, _Pair | Reject] = {}
        for sample in samples:
            if is_derived(sample):
                results.append(self._invert(model, sample, pairs))
                continue
            found = self._read(model, sample)
            pairs = {sample.key: found}
            results.append(found if isinstance(found, Reject) else found.row)
        return results

    def _invert(self, release: Release, sample: Sample, pairs: "Mapping[str, _Pair | Reject]") -> Result:
        """The inverse of its origin, with objects named for the new source image."""
        (key,) = origins_of(sample.spec)
        origin = pairs.get(key)
        if not isinstance(origin, _Pair):
            return origin_rejected(key, origin)
        metadata = replace(origin.metadata, rotation_deg=0.0 - origin.metadata.rotation_deg)
        try:
            facts = make_facts(sample.spec["edit"], metadata, origin.images.reversed(), release.caption)
        except NoName as error:
            return Reject("ambiguous_name", detail=f"the inverse of {key}: {error}")
        measures = PairFacts.model_validate_json(str(origin.row.columns["facts"])).measures
        return Row(inverted_columns(origin.row.columns, facts.model_copy(update={"measures": measures})))

    def _read(self, release: Release, sample: Sample) -> "_Pair | Reject":
        spec = sample.spec
        where = spec.get("path") or f"{spec['archive']} ({spec['released']})"
        try:
            try:
                files = release.files(spec)
            except OSError as error:
                raise _Broken("unreadable", str(error)) from error
            return self._row(release, files, spec["edit"])
        except _Broken as broken:
            return Reject(broken.reason, detail=f"{where}: {broken.detail}")

    def _row(self, release: Release, files: Mapping[str, bytes], kind: EditKind) -> "_Pair":
        missing = [name for name in FILES if name not in files]
        if missing:
            raise _Broken("missing_file", f"no {', '.join(missing)}")
        task = task_of(kind)
        if task is None:
            raise ValueError(f"the release has no edits of kind {kind}")
        try:
            metadata = read_metadata(files[METADATA], task)
        except ValueError as error:
            raise _Broken("bad_metadata", f"{METADATA}: {error}") from error
        images = _read_images(files, metadata, task, backwards=is_backwards(kind))
        changed = self._changed(images)
        try:
            facts = make_facts(kind, metadata, images, release.caption)
        except NoName as error:
            raise _Broken("ambiguous_name", str(error)) from error
        measures = facts.measures.model_copy(
            update={
                "changed_fraction": round(changed.fraction, 6),
                "psnr_unchanged": round(changed.psnr_unchanged, 3),
            }
        )
        columns: Columns = {
            "source": codecs.encode_image(images.source),
            "target": codecs.encode_image(changed.target_rgb),
            "source_instances": codecs.encode_labels(images.source_labels),
            "target_instances": codecs.encode_labels(images.target_labels),
            "changed": codecs.encode_mask(changed.mask),
            **dict.fromkeys(_MAPS, b""),
            "facts": facts.model_copy(update={"measures": measures}).model_dump_json(),
        }
        return _Pair(metadata, images, Row(columns))

    def _changed(self, images: Images) -> Changed:
        if self.unchanged == "keep":
            edited = (images.source_labels == EDITED) | (images.target_labels == EDITED)
            mask = edited | (images.source != images.target).any(axis=2)
            return Changed(mask, images.target, EQUAL_DB, float(mask.mean()))
        views = (_View(images.source, images.source_labels), _View(images.target, images.target_labels))
        return find_changed(*views, (EDITED,))


def _read_images(files: Mapping[str, bytes], metadata: Metadata, task: Task, *, backwards: bool) -> Images:
    pictures = {name: _decode(name, files[name]) for name in FILES if name != METADATA}
    sizes = {name: f"{pixels.shape[1]} x {pixels.shape[0]}" for name, pixels in pictures.items()}
    if len(set(sizes.values())) != 1:
        raise _Broken("size_mismatch", ", ".join(f"{name} {size}" for name, size in sizes.items()))
    labels: list[NDArray[np.uint8]] = []
    for name in ("1_mask.png", "2_mask.png"):
        try:
            labels.append(read_mask(pictures[name], len(metadata.objects)))
        except MaskError as error:
            raise _Broken("bad_mask", f"{name}: {error}") from error
    present = [bool((mask == EDITED).any()) for mask in labels]
    if not present[0] or not (present[1] or task == "remove"):
        raise _Broken("no_edited_object", f"the edited object is not in {'2' if present[0] else '1'}_mask.png")
    if present[1] and task == "remove":
        raise _Broken("bad_mask", "2_mask.png still shows the object that was removed")
    images = Images(pictures["1.png"], pictures["2.png"], *labels)
    return images.reversed() if backwards else images


def _decode(name: str, data: bytes) -> NDArray[np.uint8]:
    try:
        width, height = codecs.image_size(data)
        if max(width, height) > MAX_SIDE:
            raise _Broken("image_too_large", f"{name}: {width} x {height} pixels, over {MAX_SIDE} per side")
        return codecs.decode_image(data)
    except codecs.ImageTooLargeError as error:
        raise _Broken("image_too_large", f"{name}: {error}") from error
    except codecs.CodecError as error:
        raise _Broken("unreadable_image", f"{name}: {error}") from error
