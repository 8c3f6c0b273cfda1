"""Decide which configuration OUT shows: the last one that finished.

Invariants: `build.json` is written only when a build finishes with accepted samples. A build of another configuration
writes `unfinished.json` when it starts. That file is removed when the build finishes, or when the finished
configuration is built again. So an experiment that fails, is stopped, or has all samples rejected does not change what
commands show, pack and report. Before the first build finishes there is only `unfinished.json`, which is shown.

Both files are configurations for `--config`, without secrets. If a value contained a secret, the whole value is read
from an environment variable: see `pipeline.secret_values`.
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
"""The activity (`doing`) in the lock of a running build."""


@dataclass(frozen=True)
class ShownConfig:
    """The configuration that is shown, and another one that was started, if any."""

    config: Config
    file: str
    """Name of its file under OUT."""
    other: Config | None = None
    """The unfinished configuration, if it is not the one that is shown."""
    note: str = ""
    """If there are two configurations, one line: which one is shown, how they differ, and what to do."""


def holds_build(storage: Storage) -> bool:
    """Whether a build was started here."""
    return storage.exists(BUILD) or storage.exists(UNFINISHED)


def begin(storage: Storage, config: Config) -> None:
    """Record that a build of this configuration starts. Call it under the run lock, after writing the plan."""
    stored = _read_valid(storage, BUILD)
    if stored is not None and without_secrets(stored) == without_secrets(config):
        storage.remove(UNFINISHED)
    else:
        storage.write_file(UNFINISHED, _text(config))


def is_plan_foreign(storage: LayerStore, config: Config) -> bool:
    """Whether plan.json belongs to another OUT: `config` is the finished configuration here, but not that of the plan.

    Raises BadInput if the plan is damaged and `config` is not the configuration that it was made from.
    """
    try:
        plan = find_plan(storage)
        finished = _read_valid(storage, BUILD)
        return bool(plan and finished and _differs_from_plan(plan, config) and not _differs_in_plan(finished, config))
    except PlanDamaged as error:
        problem = str(error)
    for stored in filter(None, (_read_valid(storage, BUILD), _read_valid(storage, UNFINISHED))):
        if what := _differs_in_plan(stored, config):
            raise BadInput(f"{problem}; this build has another configuration: {what} (old -> new)")
    return False


def _differs_in_plan(stored: Config, config: Config) -> str:
    """How the plans of two configurations differ; empty if they do not."""
    old, new = ({**plan_config(one), "seed": one.seed, "unit_size": one.unit_size} for one in (stored, config))
    return differing(old, new)


def finish(storage: Storage, config: Config) -> None:
    """Record that the build of this configuration finished."""
    storage.write_file(BUILD, _text(config))
    storage.remove(UNFINISHED)


def read_shown(storage: Storage, overrides: Sequence[str] = (), *, running: bool = False) -> ShownConfig:
    """Read the configuration to show.

    Args:
        overrides: texts of `--set`, applied to it.
        running: while a build runs, show its configuration although it is not finished.

    Raises BadInput if there is no readable configuration, or if an override is invalid.
    """
    has_unfinished = storage.exists(UNFINISHED)
    if not storage.exists(BUILD):
        if not has_unfinished:
            raise BadInput(
                f"no build in {storage}: give the --out of a build, or run `spatialdata build --out {storage}` first"
            )
        try:
            return ShownConfig(_read(storage, UNFINISHED, overrides), UNFINISHED)
        except FileNotFoundError:  # the build finished meanwhile
            return ShownConfig(_read(storage, BUILD, overrides), BUILD)
    finished = _read(storage, BUILD, overrides)
    if not has_unfinished:
        return ShownConfig(finished, BUILD)
    try:
        unfinished = _read(storage, UNFINISHED)
    except FileNotFoundError:
        return ShownConfig(_read(storage, BUILD, overrides), BUILD)
    except BadInput as error:
        note = f"{error}, or run {_build_command(storage, BUILD)} to keep the finished configuration"
        return ShownConfig(finished, BUILD, note=note)
    what = differing(_readable(finished), _readable(unfinished), most=12)
    if running and (holder := holder_of(storage)) is not None and holder.doing == BUILDING:
        note = f"showing the configuration that is being built ({what}); otherwise the last finished one is shown"
        return ShownConfig(_read(storage, UNFINISHED, overrides), UNFINISHED, note=note)
    note = (
        f"showing the last finished configuration; another one was started but is not finished: {what}. To finish it, "
        f"run {_build_command(storage, UNFINISHED)}; to discard it, run {_build_command(storage, BUILD)}"
    )
    return ShownConfig(finished, BUILD, unfinished, note)


def check_plan(storage: Storage, shown: ShownConfig, plan: Plan) -> None:
    """Raise BadInput if the configuration and the plan beside it differ: one of them belongs to another OUT."""
    if what := _differs_from_plan(plan, shown.config):
        raise BadInput(
            f"{join(str(storage), shown.file)} belongs to another build than the plan.json beside it: {what} (plan -> "
            "configuration): rerun the same `spatialdata build`"
        )


def _differs_from_plan(plan: Plan, config: Config) -> str:
    """How a configuration differs from a plan; empty if they agree."""
    wanted = plan_config(config)
    keys = plan.config.keys() & wanted.keys()
    what = differing({key: plan.config[key] for key in keys}, {key: wanted[key] for key in keys})
    if "source" in keys and config.seed != plan.seed:
        what = what or f"seed {plan.seed} -> {config.seed}"
    return what


def without_secrets(config: Config) -> dict[str, Any]:
    """A configuration as plain values, with secrets redacted, which may be written anywhere."""
    return redact_values(config.model_dump(mode="json"))


def _read(storage: Storage, name: str, overrides: Sequence[str] = ()) -> Config:
    try:
        values = json.loads(storage.read_file(name))
        parse_config(values, name)
    except (ValueError, BadInput) as error:
        what = f"{join(str(storage), name)} is damaged ({error})"
        raise BadInput(f"{what}: rerun the same `spatialdata build`") from None
    return with_overrides(values, overrides, "--set")


def _read_valid(storage: Storage, name: str) -> Config | None:
    """The configuration in a file; None if the file is missing or damaged."""
    try:
        return parse_config(json.loads(storage.read_file(name)), name)
    except (FileNotFoundError, ValueError, BadInput):
        return None


def _text(config: Config) -> bytes:
    return json.dumps(without_secrets(config), indent=1).encode()


def _readable(config: Config) -> dict[str, Any]:
    """The values as users write them, with each layer's stage under the layer's name."""
    values = without_secrets(config)
    layers: dict[str, Any] = dict(get_source(config.source.kind).layers)
    for name, layer in values["layers"].items():
        layers[name] = layer["stage"] or layers.get(name)
        layers |= {f"{name}.{option}": value for option, value in layer["options"].items()}
    return values | {"layers": layers}


def _build_command(storage: Storage, name: str) -> str:
    """The command that builds the configuration in a file of OUT."""
    return f"`spatialdata build --config {shlex.quote(join(str(storage), name))} --out {shlex.quote(str(storage))}`"
