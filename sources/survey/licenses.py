"""Licenses of models as their metadata states them: normalized, filtered, counted."""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Final, Protocol, TypeVar

from ...shards.errors import BadInput
from ...shards.licenses import LICENSES, LicenseName, to_license_name

DEFAULT_LICENSES: Final = ("cc0", "by", "by-sa")
_MAX_NAME: Final = 200
"""Limit for the characters of a license text. A longer one is truncated."""
_SPELLINGS: Final = (
    (re.compile(r"(?:https?://)?(?:www\.)?creativecommons\.org/"), " cc "),
    (re.compile(r"cc[ -]?(?:0|zero)\b|publicdomain/zero|creative commons zero"), " cc0 "),
    (re.compile(r"\battribution"), " by "),
    (re.compile(r"non-?\s?commercial"), " nc "),
    (re.compile(r"share-?\s?alike"), " sa "),
    (re.compile(r"no-?\s?deriv(?:ative)?s?(?: works)?\b"), " nd "),
)
_LICENSE_FILLER: Final = re.compile(
    r"cc|creative|commons|public|domain|dedication|universal|licen[sc]es?|international|unported|generic|deed|legalcode|"
    r"v?\d(?:\.\d)?|igo|us|uk|de|fr|es|it|nl|jp|au|ca|br|at|ch|pl|pt|se|dk|fi|kr|cn|tw|hk|nz|za|\."
)
"""Words that may accompany the name of a license: its publisher, its version, a country code."""
_SHOWN_CHARACTERS: Final = 40
_SHOWN_TEXTS: Final = 3
"""How many texts of unknown licenses a message shows, and how many characters of each."""


class Licensed(Protocol):
    """What is known of a model before its file is read."""

    @property
    def licence(self) -> str: ...


Entry = TypeVar("Entry", bound=Licensed)


def select_licenses(entries: Iterable[Entry], licenses: Collection[str] = DEFAULT_LICENSES) -> list[Entry]:
    """The entries with an allowed license, in their order.

    Raises:
        BadInput: no entry is left. The message counts the entries by license.
    """
    allowed = {to_license_name(normalize_license(license)) for license in licenses}
    entries = list(entries)
    kept = [entry for entry in entries if to_license_name(entry.licence) in allowed]
    if not kept:
        present = {to_license_name(entry.licence) for entry in entries}
        more = ", ".join(name for name in LICENSES if name in present | allowed)
        note = " (allow unknown only if you know that these license texts permit it)" if "unknown" in present else ""
        raise BadInput(
            f"source.licenses: no asset is left after the filter ({', '.join(sorted(allowed))}); the cache contains "
            f"{count_licenses(entry.licence for entry in entries)}: allow one of these, for example "
            f"--set source.licenses='[{more}]'{note}, or use another source.root"
        )
    return kept


def count_licenses(licenses: Iterable[str]) -> str:
    """Counts by license, such as `by 3, unknown 2 ('mit', 'royalty free')`: names of `LICENSES`, and other texts."""
    counts: Counter[LicenseName] = Counter()
    texts: dict[str, None] = {}
    for text in licenses:
        counts[to_license_name(text)] += 1
        if text not in LICENSES:
            texts[repr(text[:_SHOWN_CHARACTERS])] = None
    parts = [f"{name} {count}" for name, count in sorted(counts.items())]
    if texts:
        shown = ", ".join([*list(texts)[:_SHOWN_TEXTS], *(["..."] if len(texts) > _SHOWN_TEXTS else [])])
        parts = [f"{part} ({shown})" if part.startswith("unknown ") else part for part in parts]
    return ", ".join(parts)


def normalize_license(text: str) -> str:
    """Normalize the text of a license. `CC BY-SA 4.0`, `cc-by-sa` and a creativecommons.org address become `by-sa`.

    Other text is returned in lower case and counts as `unknown` (`shards.licenses.known`), whatever it grants. This
    includes text that contains more than the name of a license, such as `by permission`.
    """
    plain = text.lower()
    for pattern, name in _SPELLINGS:
        plain = pattern.sub(name, plain)
    parts = set(re.findall("[a-z0-9.]+", plain))
    named = parts & {"by", "nc", "sa", "nd", "cc0"}
    license = "-".join(part for part in ("cc0", "by", "nc", "sa", "nd") if part in named)
    if license in LICENSES and all(_LICENSE_FILLER.fullmatch(part) for part in parts - named):
        return license
    other = " ".join(text.lower().replace(";", ",").split())
    return (other if len(other) <= _MAX_NAME else f"{other[: _MAX_NAME - 3]}...") or "unknown"
