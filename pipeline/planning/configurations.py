"""Which configuration OUT shows: the last one that was finished, until another one is finished, too.

Invariants: `build.json` is written when a build has come to its end with accepted samples, and by nothing else; a build
of another configuration notes that one in `unfinished.json` before it works, and the note goes when that build has come
to its end, or when the finished configuration is built again. So an experiment that fails, is stopped, or has all its
samples rejected leaves what is shown, packed and told as it was. Before the first build has come to its end there is
only `unfinished.json`, and it is what is shown.

Both files are configurations as `--config` takes them, without secrets. Where one held a secret, the whole value is
taken from an environment variable when it is read: see `pipeline.secret_values`.
"""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...shards.errors import BadInput
from ...shards.layout import join
from ...shards.redact import redact_values
from ...sources.registry import get_source
from ..config import Config, parse_config, with_overrides
from ..store.layers import LayerStore
from ..store.lock import holder_of
from ..store.plan import Plan, PlanDamaged, differing, find_plan
from ..store.storage import Storage
from .samples import plan_config

BUILD = "build.json"
UNFINISHED = "unfinished.json"
BUILDING = "build"
"""What the lock of a running build says that it does."""


@dataclass(frozen=True)
class ShownConfig:
    """The configuration of a build that is shown, and what to tell of the other one."""

    config: Config
    file: str
    """Its name under OUT."""
    other: Config | None = None
    """The one that was begun and is not finished, where it is not the one that is shown."""
    note: str = ""
    """For a person, where there are two: which one is shown, in what they differ, what to do. One line."""


def holds_build(storage: Storage) -> bool:
    """Whether a build was begun here."""
    return storage.exists(BUILD) or storage.exists(UNFINISHED)


def begin(storage: Storage, config: Config) -> None:
    """A build of this configuration begins: under the run lock, once its plan is there."""
    kept = _kept(storage, BUILD)
    if kept is not None and without_secrets(kept) == without_secrets(config):
        storage.remove(UNFINISHED)
    else:
        storage.write_file(UNFINISHED, _text(config))


def check_replanned(storage: LayerStore, config: Config) -> bool:
    """Whether plan.json is of another OUT: this is the configuration that was finished here, and not that of the plan.

    Raises BadInput where the plan is damaged and would be made again from another configuration than it was.
    """
    try:
        plan = find_plan(storage)
        finished = _kept(storage, BUILD)
        return bool(plan and finished and _unlike(plan, config) and not _replanned(finished, config))
    except PlanDamaged as error:
        problem = str(error)
    for kept in filter(None, (_kept(storage, BUILD), _kept(storage, UNFINISHED))):
        if what := _replanned(kept, config):
            raise BadInput(f"{problem}; the configuration that is given is another one: {what} (old -> new)")
    return False


def _replanned(kept: Config, config: Config) -> str:
    """What another plan has other; empty where two configurations make the same."""
    old, new = ({**plan_config(one), "seed": one.seed, "unit_size": one.unit_size} for one in (kept, config))
    return differing(old, new)


def finish(storage: Storage, config: Config) -> None:
    """That build has come to its end."""
    storage.write_file(BUILD, _text(config))
    storage.remove(UNFINISHED)


def read_shown(storage: Storage, overrides: Sequence[str] = (), *, running: bool = False) -> ShownConfig:
    """The configuration that counts.

    Args:
        overrides: `--set` texts for it.
        running: while a build runs, show that one's, finished or not.

    Raises BadInput where there is none, or none that can be read, or an override is none.
    """
    began = storage.exists(UNFINISHED)
    if not storage.exists(BUILD):
        if not began:
            raise BadInput(
                f"no build in {storage}: give the --out of a build, or run `spatialdata build --out {storage}` first"
            )
        try:
            return ShownConfig(_read(storage, UNFINISHED, overrides), UNFINISHED)
        except FileNotFoundError:  # it was finished meanwhile
            return ShownConfig(_read(storage, BUILD, overrides), BUILD)
    finished = _read(storage, BUILD, overrides)
    if not began:
        return ShownConfig(finished, BUILD)
    try:
        begun = _read(storage, UNFINISHED)
    except FileNotFoundError:
        return ShownConfig(_read(storage, BUILD, overrides), BUILD)
    except BadInput as error:
        return ShownConfig(finished, BUILD, note=f"{error}, or {_again(storage, BUILD)} to stay with the finished one")
    what = differing(_told(finished), _told(begun), most=12)
    if running and (holder := holder_of(storage)) is not None and holder.doing == BUILDING:
        note = f"shown is the configuration that is being built ({what}); once it stops, the last finished one is again"
        return ShownConfig(_read(storage, UNFINISHED, overrides), UNFINISHED, note=note)
    note = (
        f"shown is the last finished configuration; another one was begun and is not finished: {what}. To finish that "
        f"one: {_again(storage, UNFINISHED)}; to stay with this one: {_again(storage, BUILD)}"
    )
    return ShownConfig(finished, BUILD, begun, note)


def check_plan(storage: Storage, shown: ShownConfig, plan: Plan) -> None:
    """Raise BadInput where the configuration is not of the plan that lies beside it: one of them is of another OUT."""
    if what := _unlike(plan, shown.config):
        raise BadInput(
            f"{join(str(storage), shown.file)} is of another build than the plan.json beside it: {what} (plan -> "
            "configuration): run the same `spatialdata build` again"
        )


def _unlike(plan: Plan, config: Config) -> str:
    """What a configuration has other than a plan; empty where they agree."""
    wanted = plan_config(config)
    keys = plan.config.keys() & wanted.keys()
    what = differing({key: plan.config[key] for key in keys}, {key: wanted[key] for key in keys})
    if "source" in keys and config.seed != plan.seed:
        what = what or f"seed {plan.seed} -> {config.seed}"
    return what


def without_secrets(config: Config) -> dict[str, Any]:
    """A configuration as plain values that may be written anywhere."""
    return redact_values(config.model_dump(mode="json"))


def _read(storage: Storage, name: str, overrides: Sequence[str] = ()) -> Config:
    try:
        values = json.loads(storage.read_file(name))
        parse_config(values, name)
    except (ValueError, BadInput) as error:
        what = f"{join(str(storage), name)} is damaged ({error})"
        raise BadInput(f"{what}: run the same `spatialdata build` again") from None
    return with_overrides(values, overrides, "--set")


def _kept(storage: Storage, name: str) -> Config | None:
    """What a file holds; None where it is missing or damaged."""
    try:
        return parse_config(json.loads(storage.read_file(name)), name)
    except (FileNotFoundError, ValueError, BadInput):
        return None


def _text(config: Config) -> bytes:
    return json.dumps(without_secrets(config), indent=1).encode()


def _told(config: Config) -> dict[str, Any]:
    """As a person writes it, a layer's stage by the layer's name alone."""
    values = without_secrets(config)
    layers: dict[str, Any] = dict(get_source(config.source.kind).layers)
    for name, layer in values["layers"].items():
        layers[name] = layer["stage"] or layers.get(name)
        layers |= {f"{name}.{option}": value for option, value in layer["options"].items()}
    return values | {"layers": layers}


def _again(storage: Storage, name: str) -> str:
    """The command that builds what a file of OUT says."""
    return f"`spatialdata build --config {shlex.quote(join(str(storage), name))} --out {shlex.quote(str(storage))}`"
