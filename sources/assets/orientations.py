"""What is known about assets beyond their files: which way they face, and their names. One file for each root.

    {uid: degrees}                                                        by hand, or `uid,degrees` as CSV
    {uid: {front_deg | null, name, colour, material, distinguishable, votes, model, revision}}
                                                                          by `spatialdata orient`

Degrees are about z from +x in the object frame: 270 is a model that faces the viewer of glTF (+z of its file).

Invariant: `front_deg` is a number only if a person entered it or all votes agree. Unknown values leave the asset as the
survey measured it.
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
    """One asset. Unknown words are empty."""

    front_deg: FiniteFloat | None = None
    """Direction that the front faces, 0 to 360; None if unknown."""
    name: str = ""
    """Noun phrase without article, color or material, such as `office chair`."""
    colour: str = ""
    """One of `shards.colors.PALETTE`."""
    material: str = ""
    distinguishable: bool = True
    """Whether front and rear look different."""
    votes: tuple[FiniteFloat, ...] = ()
    """Answer to each question, degrees; -1 if it named no front."""
    model: str = ""
    """Model that answered; empty if a person wrote the entry."""
    revision: str = ""


_TABLE: Final = TypeAdapter(dict[str, Orientation | FiniteFloat])


def orientation_file(root: Path, given: str = "") -> str:
    """Path or URL of the file to read: `given`, else the JSON or CSV file in the root; empty if there is none."""
    if given:
        return given
    found = [root / name for name in (ORIENTATIONS, "orientations.csv") if (root / name).is_file()]
    return str(found[0]) if found else ""


def read_orientations(url: str) -> dict[str, Orientation]:
    """Orientations by uid; none for an empty URL.

    Raises:
        BadInput: the file does not exist or has another format.
    """
    if not url:
        return {}
    fs, path = filesystem(url)
    try:
        text = fs.cat_file(path).decode("utf-8")
    except FileNotFoundError:
        raise BadInput(f"no orientation file {url}; `spatialdata orient --to {url}` writes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"orientation file {url} cannot be read: {error}") from None
    try:
        table = _TABLE.validate_python(_from_csv(text) if url.endswith(".csv") else json.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][:1])
        raise BadInput(f"{url}: expected a table of uid and degrees ({where}: {first['msg']})") from None
    except (ValueError, IndexError) as error:
        raise BadInput(f"{url}: expected a table of uid and degrees ({error})") from None
    return {uid: _normalized(entry) for uid, entry in table.items()}


def encode_orientations(table: Mapping[str, Orientation]) -> bytes:
    """The file's content, sorted by uid."""
    return _TABLE.dump_json(dict(sorted(table.items())), indent=1) + b"\n"


def apply_orientations(assets: Iterable[Asset], table: Mapping[str, Orientation]) -> list[Asset]:
    """Apply the table to the assets. Its fronts and names override those of the survey. Its colors are used only where
    the portraits show none."""
    return [_apply(asset, table[asset.uid]) if asset.uid in table else asset for asset in assets]


def front_status(entry: Orientation) -> Literal["known", "unknown", "undistinguishable"]:
    """What an entry states about the front."""
    if entry.front_deg is not None:
        return "known"
    return "unknown" if entry.distinguishable else "undistinguishable"


def _apply(asset: Asset, entry: Orientation) -> Asset:
    front = asset.front_deg if entry.front_deg is None else entry.front_deg
    name, color = entry.name or asset.category, asset.colour or entry.colour
    return replace(asset, front_deg=front, category=name, colour=color)


def _normalized(entry: Orientation | float) -> Orientation:
    entry = entry if isinstance(entry, Orientation) else Orientation(front_deg=entry)
    return entry if entry.front_deg is None else entry.model_copy(update={"front_deg": entry.front_deg % 360})


def _from_csv(text: str) -> dict[str, str]:
    rows = csv.reader(text.splitlines())
    return {row[0].strip(): row[1] for row in rows if row and row[0].strip() != "uid"}
