"""Licences of the models that images show, and the one under which pictures of several of them may be shared.

An image is an adaptation of every model that it shows: models were placed, lit and rendered together. So what counts is
Creative Commons' chart for adaptations of several works (its FAQ, "combining and adapting CC material"), not the one
for collections of unchanged works:

- `cc0` asks for nothing; `by` for credit. Either goes into anything.
- A licence for the whole keeps each element that a part asks for (BY, NC, SA): the freest that does is the one.
- SA asks that adaptations carry that very licence: `by-sa` the one without NC, `by-nc-sa` the one with. Nothing can be
  both, so `by-sa` goes with neither `by-nc` nor `by-nc-sa`. `by-nc` goes with `by-nc-sa`, and gives it.
- ND allows no adaptation to be shared: `by-nd` and `by-nc-nd` go with nothing, not even alone.
- Without a known licence there is no permission at all.

The elements alone are known here, not the versions. 4.0 of the same elements may follow every earlier version: SA names
later versions of itself as good for adaptations, and the others leave the choice. A set is taken for one whole; whether
it may be shared as a collection, each sample under terms of its own, is its maker's to judge. None of this is legal
advice.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from .schema import SceneObject

SEPARATOR: Final = ";"
"""Between the licences of a model that was published under several: all of them count."""
LicenseName = Literal["cc0", "by", "by-sa", "by-nc", "by-nc-sa", "by-nd", "by-nc-nd", "unknown"]
LICENSES: Final[tuple[LicenseName, ...]] = get_args(LicenseName)
"""From the freest to the strictest."""
_FAMILIES: Final[tuple[tuple[LicenseName, ...], ...]] = (("cc0", "by", "by-sa"), ("cc0", "by", "by-nc", "by-nc-sa"))
"""The largest choices that can be combined."""
_SHARED_ALIKE: Final = (("by-sa", "by-nc"), ("by-sa", "by-nc-sa"))


@dataclass(frozen=True)
class Whole:
    """What may be said of several works in one."""

    licence: LicenseName | None
    """None where there is no licence that all parts allow."""
    problems: tuple[str, ...] = ()
    """Why, a sentence each, which names the parts."""
    remedies: tuple[tuple[LicenseName, ...], ...] = ()
    """The largest choices of the parts that can be combined."""


def combine(parts: Iterable[str]) -> Whole:
    """The freest licence that all of these allow for one adaptation of them all; see the module.

    Args:
        parts: names of `LICENSES`, or several of them `joined`; others, and the empty text, count as unknown. Of
            nothing at all, `cc0` is allowed.
    """
    names: set[LicenseName] = {name for part in parts for name in licences_of(part)}
    problems = [
        f"{label(name)} allows no adaptation to be shared, and a rendered image is one"
        for name in ("by-nd", "by-nc-nd")
        if name in names
    ]
    if "unknown" in names:
        problems.append("models of unknown licence come with no permission")
    problems += [
        f"{label(one)} and {label(other)} cannot be combined: each asks for terms that the other forbids"
        for one, other in _SHARED_ALIKE
        if one in names and other in names
    ]
    if problems:
        return Whole(None, tuple(problems), _remedies(names))
    return Whole(_strictest(names))


def joined(licences: Iterable[str]) -> str:
    """Several licences of one model as one text, each once, sorted."""
    return SEPARATOR.join(sorted({part for licence in licences for part in licence.split(SEPARATOR)}))


def licences_of(licence: str) -> tuple[LicenseName, ...]:
    """The licences of one model, each once, in the order of `LICENSES`."""
    names = {known(part) for part in licence.split(SEPARATOR)}
    return tuple(name for name in LICENSES if name in names)


def known(licence: str) -> LicenseName:
    """A licence of the chart, `unknown` for any other text."""
    return licence if licence in LICENSES else "unknown"


def label(licence: str) -> str:
    """`CC BY-SA`, `CC0`, `unknown`."""
    name = known(licence)
    return {"cc0": "CC0", "unknown": "unknown"}.get(name, f"CC {name.upper()}")


def deed(licence: str) -> str:
    """Address of the licence's text, of its latest version; empty where it is unknown."""
    name = known(licence)
    if name == "unknown":
        return ""
    return f"https://creativecommons.org/{'publicdomain/zero/1.0' if name == 'cc0' else f'licenses/{name}/4.0'}/"


def hub_name(licence: LicenseName) -> str:
    """As Hugging Face's dataset cards call it: `cc-by-4.0`."""
    return {"cc0": "cc0-1.0", "unknown": "unknown"}.get(licence, f"cc-{licence}-4.0")


def licences_shown(objects: Iterable[SceneObject]) -> tuple[LicenseName, ...]:
    """The licences of the objects of which something is seen, each once, in the order of `LICENSES`."""
    names = {name for item in objects if item.shown for name in licences_of(item.licence)}
    return tuple(name for name in LICENSES if name in names)


def _strictest(names: Collection[LicenseName]) -> LicenseName:
    """Of names that can be combined, the one that has every element: the order of `LICENSES` says which."""
    return max(names, key=LICENSES.index) if names else "cc0"


def _remedies(names: Collection[LicenseName]) -> tuple[tuple[LicenseName, ...], ...]:
    found: list[tuple[LicenseName, ...]] = [
        tuple(name for name in LICENSES if name in family and name in names) for family in _FAMILIES
    ]
    largest = [one for one in found if one and not any(set(one) < set(other) for other in found)]
    return tuple(dict.fromkeys(largest))
