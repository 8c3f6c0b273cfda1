"""What is known of assets beyond their files: which way they face and what they are called. One file for a root.

    {uid: degrees}                                                        by hand, or `uid,degrees` as CSV
    {uid: {front_deg | null, name, colour, material, distinguishable, votes, model, revision}}
                                                                          by `spatialdata orient`

Degrees are about z from +x in the object frame, so that 270 is a model that faces the viewer of glTF (its file's +z).

Invariant: `front_deg` is a number only where a person gave it or all votes agree; whatever is not known leaves the
asset as the survey found it.
"""

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from pydantic import FiniteFloat, TypeAdapter, ValidationError

from ...shards.errors import BadInput
from ...shards.layout import filesystem
from ...shards.options import Options
from .asset import Asset

ORIENTATIONS: Final = "orientations.json"


class Orientation(Options):
    """One asset. Words are empty where they are not known."""

    front_deg: FiniteFloat | None = None
    """Direction that the front faces, 0 to 360; None where unknown."""
    name: str = ""
    """Noun phrase without article, colour or material: `office chair`."""
    colour: str = ""
    """One of `shards.colors.PALETTE`."""
    material: str = ""
    distinguishable: bool = True
    """Whether front and rear can be told apart by looking."""
    votes: tuple[FiniteFloat, ...] = ()
    """What each question gave, degrees; -1 where it gave no front."""
    model: str = ""
    """Who was asked; empty where a person wrote it."""
    revision: str = ""


_TABLE: Final = TypeAdapter(dict[str, Orientation | FiniteFloat])


def orientation_file(root: Path, given: str = "") -> str:
    """Path or URL of the file to read: the given one, else the root's own, as JSON or CSV; empty where it has none."""
    if given:
        return given
    found = [root / name for name in (ORIENTATIONS, "orientations.csv") if (root / name).is_file()]
    return str(found[0]) if found else ""


def read_orientations(url: str) -> dict[str, Orientation]:
    """By uid; of no file (an empty URL) nothing.

    Raises:
        BadInput: there is no such file, or it is not such a table.
    """
    if not url:
        return {}
    fs, path = filesystem(url)
    try:
        text = fs.cat_file(path).decode("utf-8")
    except FileNotFoundError:
        raise BadInput(f"no orientation file {url}: `spatialdata orient --to {url}` makes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"orientation file {url} cannot be read: {error}") from None
    try:
        table = _TABLE.validate_python(_from_csv(text) if url.endswith(".csv") else json.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][:1])
        raise BadInput(f"{url}: not a table of uid and degrees ({where}: {first['msg']})") from None
    except (ValueError, IndexError) as error:
        raise BadInput(f"{url}: not a table of uid and degrees ({error})") from None
    return {uid: _settled(entry) for uid, entry in table.items()}


def encode_orientations(table: Mapping[str, Orientation]) -> bytes:
    """The file's content, sorted by uid."""
    return _TABLE.dump_json(dict(sorted(table.items())), indent=1) + b"\n"


def oriented(assets: Iterable[Asset], table: Mapping[str, Orientation]) -> list[Asset]:
    """The assets with what the table knows: its fronts and names stand before the survey's, its colours where the
    portraits show none."""
    return [_with(asset, table[asset.uid]) if asset.uid in table else asset for asset in assets]


def kind_of(entry: Orientation) -> Literal["known", "unknown", "undistinguishable"]:
    """What an entry says of the front."""
    if entry.front_deg is not None:
        return "known"
    return "unknown" if entry.distinguishable else "undistinguishable"


def _with(asset: Asset, entry: Orientation) -> Asset:
    front = asset.front_deg if entry.front_deg is None else entry.front_deg
    name, colour = entry.name or asset.category, asset.colour or entry.colour
    return replace(asset, front_deg=front, category=name, colour=colour)


def _settled(entry: Orientation | float) -> Orientation:
    entry = entry if isinstance(entry, Orientation) else Orientation(front_deg=entry)
    return entry if entry.front_deg is None else entry.model_copy(update={"front_deg": entry.front_deg % 360})


def _from_csv(text: str) -> dict[str, str]:
    rows = csv.reader(text.splitlines())
    return {row[0].strip(): row[1] for row in rows if row and row[0].strip() != "uid"}
