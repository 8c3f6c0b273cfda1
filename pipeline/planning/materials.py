"""The HDRIs, texture sets and room models of a plan: found in the user's folders once, checked, and kept under OUT.

Invariant: the table is written last, so all files that it names are complete. A build that is resumed uses the kept
files: the user's folders may be gone, but if they are there, they must be what was planned.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from ...shards.errors import BadInput
from ...shards.licenses import to_license_name
from ...sources.assets.glb import GlbError
from ...sources.blender.render import ImageFacts, Renderer, SceneError
from ...sources.environments.folder import KEY as _ENVIRONMENTS
from ...sources.environments.folder import TABLE as ENVIRONMENTS_TABLE
from ...sources.environments.folder import FoundEnvironment, find_environments
from ...sources.environments.survey import survey_environment
from ...sources.materials.hdris import TABLE as HDRIS_TABLE
from ...sources.materials.hdris import FoundHdri, find_hdris
from ...sources.materials.images import Measure, prepared_hdri, prepared_map
from ...sources.materials.table import (
    FOLDER,
    MapName,
    Materials,
    PlannedEnvironment,
    PlannedHdri,
    PlannedSet,
    from_json,
    to_json,
)
from ...sources.materials.texture_sets import TABLE as SURFACES_TABLE
from ...sources.materials.texture_sets import FoundSet, find_sets
from ...sources.scenes.spec import is_hdri_path
from ..config import Config
from ..store.layers import LayerStore
from ..store.plan import PlanDamaged, damaged_plan
from .request import MATERIALS

KEPT: Final = f"plan/{FOLDER}"
MOST: Final = 128
"""Most HDRIs, texture sets, and room models that a plan keeps. Of more, a seeded choice."""
_HDRIS, _SURFACES = "scene.light.hdris", "scene.surfaces"
_UNNAMED: Final = 3
"""Names that a message lists."""
_TABLES: Final = {_HDRIS: HDRIS_TABLE, _SURFACES: SURFACES_TABLE, _ENVIRONMENTS: ENVIRONMENTS_TABLE}
Found = TypeVar("Found", FoundHdri, FoundSet, FoundEnvironment)
_All = tuple[list[FoundHdri], list[FoundSet], list[FoundEnvironment]]


def settle_materials(config: Config, store: LayerStore, planned: str, say: Callable[[str], None]) -> str:
    """Write the table of materials and their files, unless they exist; return its sha256, or "" if there are none.

    Args:
        planned: the sha256 that an existing plan names; empty if there is none.

    Raises:
        BadInput: the files cannot be used, or are not those of the plan.
        PlanDamaged: kept files are damaged, and the user's files now are others.
    """
    given = [name for name in config.scene.light.hdris if is_hdri_path(name)]
    if not (given or config.scene.surfaces or _environments(config)):
        return ""
    table = held_materials(store)
    if table is not None and planned and _digest(to_json(table)) == planned:
        if missing := _first_missing(config, given):
            say(f"{missing} does not exist: using the files in {store.path(KEPT)}")
            return planned
        if differing := _differing(table, *_chosen(config, given, lambda _: None)):
            raise BadInput(
                f"{store} was planned with other HDRIs, texture sets or room models ({_few(differing)}): use another "
                "--out, or the original files"
            )
        return planned
    if missing := _first_missing(config, given):
        raise BadInput(f"{missing} does not exist: give an existing path")
    table = _kept(config, store, *_chosen(config, given, say), say)
    data = to_json(table)
    digest = _digest(data)
    if planned and digest != planned:
        what = f"{MATERIALS} or a file in {KEPT} is not the one that was planned, and the folders now have others"
        raise PlanDamaged(f"{damaged_plan(store, what)} with the original files")
    store.write_file(MATERIALS, data)
    lights, surfaces = _counted(len(table.hdris), "HDRI"), _counted(len(table.sets), "texture set")
    rooms = f", and {_counted(len(table.environments), 'room model')}," if table.environments else ""
    say(f"scenes also have {lights} and {surfaces}{rooms} of {KEPT}")
    return digest


def held_materials(store: LayerStore) -> Materials | None:
    """The table under OUT; None if it is missing or damaged, or if a file that it names is missing or damaged."""
    try:
        table = from_json(store.read_file(MATERIALS))
        whole = all(_is_whole(store, name, size) for name, size in table.sizes.items())
    except (OSError, ValueError):
        return None
    return table if whole else None


def table_digest(store: LayerStore) -> str:
    """sha256 of the table of materials; empty if there is none."""
    try:
        return _digest(store.read_file(MATERIALS))
    except OSError:
        return ""


def _first_missing(config: Config, hdris: Iterable[str]) -> str:
    """The first of the given paths that does not exist, with its option; empty if all exist."""
    options = ((_HDRIS, hdris), (_SURFACES, config.scene.surfaces), (_ENVIRONMENTS, _environments(config)))
    for key, names in options:
        for name in names:
            if "://" in name:
                raise BadInput(f"{key}: {name} is a URL; give a local path")
            path = _path(name)
            if not (path.is_dir() or (key == _HDRIS and path.is_file())):
                return f"{key}: {path}"
    return ""


def _environments(config: Config) -> tuple[str, ...]:
    """The folder of room models, if scenes use it."""
    return (config.scene.environments.root,) if "environment" in config.scene.kinds else ()


def _path(name: str) -> Path:
    return Path(name).expanduser().absolute()


def _chosen(config: Config, hdris: Iterable[str], say: Callable[[str], None]) -> _All:
    """What the plan uses of the given paths: what has an allowed license, or one that is not known."""
    licenses = config.source.licenses
    lights = [one for name in dict.fromkeys(map(_path, hdris)) for one in find_hdris(name)]
    sets = [one for name in dict.fromkeys(map(_path, config.scene.surfaces)) for one in find_sets(name)]
    rooms = [one for name in _environments(config) for one in find_environments(_path(name))]
    places: dict[str, FoundSet] = {}
    for one in sets:
        if (other := places.setdefault(one.name, one)) is not one:
            raise BadInput(
                f"{_SURFACES}: two sets are named '{one.name}', in {other.root} and {one.root}: rename one of them"
            )
    return (
        _some(_HDRIS, _licensed(_HDRIS, lights, licenses, say), config.seed, say),
        _some(_SURFACES, _licensed(_SURFACES, sets, licenses, say), config.seed, say),
        _some(_ENVIRONMENTS, _licensed(_ENVIRONMENTS, rooms, licenses, say), config.seed, say),
    )


def _licensed(key: str, found: list[Found], licenses: Sequence[str], say: Callable[[str], None]) -> list[Found]:
    """Those with an allowed license, and those with none that is known, which are said."""
    names = {one.name: to_license_name(one.credits.license) for one in found}
    kept = [one for one in found if names[one.name] in (*licenses, "unknown")]
    if left := [one.name for one in found if one not in kept]:
        say(f"{key}: {_few(left)} left out: their licenses are not among source.licenses ({', '.join(licenses)})")
    if found and not kept:
        raise BadInput(
            f"{key}: nothing has one of the source.licenses ({', '.join(licenses)}): allow others, or add files"
        )
    if unknown := [one.name for one in kept if names[one.name] == "unknown"]:
        say(
            f"{key}: {_few(unknown)} of unknown license, so the dataset has none: state it in {_TABLES[key]} or in a "
            "file LICENSE of the folder"
        )
    return kept


def _some(key: str, found: list[Found], seed: int, say: Callable[[str], None]) -> list[Found]:
    """All, or a seeded choice of `MOST`."""
    if len(found) <= MOST:
        return found
    say(f"{key}: {MOST} of {len(found)} are used, chosen by the seed")

    def order(one: Found) -> bytes:
        return hashlib.blake2b(one.name.encode(), key=seed.to_bytes(8, "little")).digest()

    chosen = {id(one) for one in sorted(found, key=order)[:MOST]}
    return [one for one in found if id(one) in chosen]


def _kept(
    config: Config,
    store: LayerStore,
    hdris: Sequence[FoundHdri],
    sets: Sequence[FoundSet],
    rooms: Sequence[FoundEnvironment],
    say: Callable[[str], None],
) -> Materials:
    """Check the files, and write them under OUT."""
    options = config.render.model_copy(update={"device": "cpu"})
    kept: dict[str, PlannedHdri] = {}
    sizes: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="spatialdata-") as folder, Renderer(options) as renderer:
        scratch = Path(folder)

        def measure(path: Path, most: int, smaller: Path) -> ImageFacts:
            try:
                return renderer.measure_image(path, most, smaller)
            except SceneError as error:
                raise BadInput(f"{path} cannot be read: {error}") from None

        for one in hdris:
            file = _keep(store, prepared_hdri(_HDRIS, one.path, measure, scratch), sizes)
            kept.setdefault(file, PlannedHdri(one.name, file, one.path.stat().st_size, one.credits))
        planned = [_keep_set(store, one, measure, scratch, sizes) for one in sets]
    environments, rejected = _keep_environments(store, rooms, sizes, say)
    return Materials(tuple(kept.values()), tuple(planned), sizes, environments, rejected)


def _keep_environments(
    store: LayerStore, rooms: Sequence[FoundEnvironment], sizes: dict[str, int], say: Callable[[str], None]
) -> tuple[tuple[PlannedEnvironment, ...], dict[str, str]]:
    """Survey room models, and keep those that scenes can use; for the others, why they cannot.

    Raises BadInput if none can be used.
    """
    kept: dict[str, PlannedEnvironment] = {}
    rejected: dict[str, str] = {}
    for one in rooms:
        try:
            interior = survey_environment(one.path, one.unit_m)
        except GlbError as error:
            rejected[one.name] = str(error)
            continue
        file = _keep(store, one.path, sizes)
        size = one.path.stat().st_size
        kept.setdefault(file, PlannedEnvironment(one.name, file, size, interior, one.unit_m, one.credits))
    reasons = "; ".join(f"{name}: {why}" for name, why in list(rejected.items())[:_UNNAMED])
    more = f"; and {len(rejected) - _UNNAMED} more" if len(rejected) > _UNNAMED else ""
    if rooms and not kept:
        raise BadInput(
            f"{_ENVIRONMENTS}: no room model can be used ({reasons}{more}): add others, or state unit_m, the meters "
            f"per file unit, in {ENVIRONMENTS_TABLE}"
        )
    if rejected:
        say(f"{_ENVIRONMENTS}: left out: {reasons}{more}")
    return tuple(kept.values()), rejected


def _keep_set(store: LayerStore, found: FoundSet, measure: Measure, scratch: Path, sizes: dict[str, int]) -> PlannedSet:
    maps: dict[MapName, str] = {}
    aspect = 1.0
    for name, path in found.maps.items():
        file, ratio = prepared_map(_SURFACES, path, measure, scratch)
        maps[name] = _keep(store, file, sizes)
        aspect = ratio if name == "color" else aspect
    return PlannedSet(
        name=found.name,
        uses=found.uses,
        size_m=found.size_m,
        aspect=round(aspect, 6),
        maps=maps,
        originals=found.originals(),
        credits=found.credits,
    )


def _keep(store: LayerStore, path: Path, sizes: dict[str, int]) -> str:
    """Write a file under OUT, named after its content, unless it is there. Adds its size, and returns its name."""
    data = path.read_bytes()
    name = f"{_digest(data)}{path.suffix.lower()}"
    sizes[name] = len(data)
    if not _is_whole(store, name, len(data)):
        store.write_file(f"{KEPT}/{name}", data)
    return name


def _is_whole(store: LayerStore, name: str, size: int) -> bool:
    """Whether a kept file is there and complete. At a URL, its size tells: it would be long to read all of them."""
    try:
        if store.size(f"{KEPT}/{name}") != size:
            return False
        return not store.is_local or _digest(store.read_file(f"{KEPT}/{name}")) == name.partition(".")[0]
    except OSError:
        return False


def _differing(
    table: Materials, hdris: Sequence[FoundHdri], sets: Sequence[FoundSet], rooms: Sequence[FoundEnvironment]
) -> list[str]:
    """Names of what is not as planned, by names, sizes of files, and what the tables say."""
    old: dict[str, Any] = {one.name: (one.bytes, one.credits) for one in table.hdris}
    new: dict[str, Any] = {one.name: (one.path.stat().st_size, one.credits) for one in hdris}
    old |= {one.name: (one.uses, one.size_m, one.originals, one.credits) for one in table.sets}
    new |= {one.name: (one.uses, one.size_m, one.originals(), one.credits) for one in sets}
    old |= {one.name: (one.bytes, one.unit_m, one.credits) for one in table.environments}
    new |= {
        one.name: (one.path.stat().st_size, one.unit_m, one.credits) for one in rooms if one.name not in table.rejected
    }
    return [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _UNNAMED} more" if len(names) > _UNNAMED else ""
    return f"{', '.join(names[:_UNNAMED])}{more}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
