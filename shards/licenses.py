"""Licenses of the models that images show, and the license under which images of several models may be shared.

An image is an adaptation of every model that it shows: the models were placed, lit and rendered together. So Creative
Commons' chart for adaptations of several works applies (its FAQ, "combining and adapting CC material"), not the one for
collections of unchanged works:

- `cc0` requires nothing, `by` requires credit. Both can be combined with every license that allows adaptations.
- The license of the whole must keep each element that a part requires (BY, NC, SA); the freest such license is used.
- SA requires adaptations to carry the same license: `by-sa` the one without NC, `by-nc-sa` the one with NC. No license
  is both, so `by-sa` cannot be combined with `by-nc` or `by-nc-sa`. `by-nc` and `by-nc-sa` together give `by-nc-sa`.
- ND forbids sharing adaptations: images of `by-nd` and `by-nc-nd` models cannot be shared, even without other models.
- What has an unknown license gives no permission.

Only the elements of a license are known here, not its version. Version 4.0 with the same elements may follow every
earlier version: SA allows later versions of itself for adaptations, and the other licenses leave the choice. A set is
treated as one work; its maker must judge whether it may be shared as a collection in which each sample has its own
terms. None of this is legal advice.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from .schema import SceneObject

SEPARATOR: Final = ";"
"""Between the licenses of a model that was published under several: all of them count."""
LicenseName = Literal["cc0", "by", "by-sa", "by-nc", "by-nc-sa", "by-nd", "by-nc-nd", "unknown"]
LICENSES: Final[tuple[LicenseName, ...]] = get_args(LicenseName)
"""From the freest to the strictest."""
_COMBINABLE: Final[tuple[tuple[LicenseName, ...], ...]] = (("cc0", "by", "by-sa"), ("cc0", "by", "by-nc", "by-nc-sa"))
"""The largest sets of licenses that can be combined."""
_CONFLICTS: Final = (("by-sa", "by-nc"), ("by-sa", "by-nc-sa"))


@dataclass(frozen=True)
class CombinedLicense:
    """The license of an adaptation of several works."""

    licence: LicenseName | None
    """None where no license is allowed by all parts."""
    problems: tuple[str, ...] = ()
    """Why there is none: one sentence for each conflict, with the licenses that cause it."""
    remedies: tuple[tuple[LicenseName, ...], ...] = ()
    """The largest subsets of the parts that can be combined."""


def combine(parts: Iterable[str]) -> CombinedLicense:
    """The freest license that all of these allow for one adaptation of them all; see the module docstring.

    Args:
        parts: names from `LICENSES`, or several in one text (`join_licenses`). Other texts count as unknown.
            Without parts, the result is `cc0`.
    """
    names: set[LicenseName] = {name for part in parts for name in licenses_of(part)}
    problems = [
        f"{label(name)} does not allow sharing adaptations, and a rendered image is one"
        for name in ("by-nd", "by-nc-nd")
        if name in names
    ]
    if "unknown" in names:
        problems.append("what has an unknown license gives no permission")
    problems += [
        f"{label(one)} and {label(other)} cannot be combined: each requires terms that the other forbids"
        for one, other in _CONFLICTS
        if one in names and other in names
    ]
    if problems:
        return CombinedLicense(None, tuple(problems), _remedies(names))
    return CombinedLicense(_strictest(names))


def join_licenses(licenses: Iterable[str]) -> str:
    """Several licenses of one model as one text: each once, sorted."""
    return SEPARATOR.join(sorted({part for text in licenses for part in text.split(SEPARATOR)}))


def licenses_of(licence: str) -> tuple[LicenseName, ...]:
    """The licenses of one model, each once, in the order of `LICENSES`."""
    names = {to_license_name(part) for part in licence.split(SEPARATOR)}
    return tuple(name for name in LICENSES if name in names)


def to_license_name(licence: str) -> LicenseName:
    """The text if it is one of `LICENSES`, else `unknown`."""
    return licence if licence in LICENSES else "unknown"


def label(licence: str) -> str:
    """`CC BY-SA`, `CC0`, `unknown`."""
    name = to_license_name(licence)
    return {"cc0": "CC0", "unknown": "unknown"}.get(name, f"CC {name.upper()}")


def license_url(licence: str) -> str:
    """URL of the latest version of the license; empty where it is unknown."""
    name = to_license_name(licence)
    if name == "unknown":
        return ""
    return f"https://creativecommons.org/{'publicdomain/zero/1.0' if name == 'cc0' else f'licenses/{name}/4.0'}/"


def hub_name(licence: LicenseName) -> str:
    """The name in Hugging Face's dataset cards: `cc-by-4.0`."""
    return {"cc0": "cc0-1.0", "unknown": "unknown"}.get(licence, f"cc-{licence}-4.0")


def visible_licenses(objects: Iterable[SceneObject]) -> tuple[LicenseName, ...]:
    """The licenses of the visible objects, each once, in the order of `LICENSES`."""
    names = {name for item in objects if item.visible for name in licenses_of(item.licence)}
    return tuple(name for name in LICENSES if name in names)


def _strictest(names: Collection[LicenseName]) -> LicenseName:
    """Of names that can be combined, the one with every element: the last in the order of `LICENSES`."""
    return max(names, key=LICENSES.index) if names else "cc0"


def _remedies(names: Collection[LicenseName]) -> tuple[tuple[LicenseName, ...], ...]:
    found: list[tuple[LicenseName, ...]] = [
        tuple(name for name in LICENSES if name in group and name in names) for group in _COMBINABLE
    ]
    largest = [one for one in found if one and not any(set(one) < set(other) for other in found)]
    return tuple(dict.fromkeys(largest))
