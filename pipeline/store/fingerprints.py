"""Dependencies between layers, and the folder name of each layer.

Invariant: a fingerprint changes exactly when the output of its layer may change. It covers the layer's name, the
stage's version, the configuration that affects the output, the fingerprints of the layers that it needs and, if it
needs none, the plan. So a layer of another plan or configuration is never read.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence, Set
from enum import Enum
from pathlib import PurePath
from typing import Any, cast

from pydantic import BaseModel

from ...shards.errors import SpatialdataError
from ...shards.redact import redact_values
from ...shards.stage import Stage
from ..plug_ins import path_of


def fingerprint(stage: Stage, needs: Mapping[str, str], plan: str = "") -> str:
    """16 hex digits that name the output of `stage`, given the fingerprints of the layers that it needs, or the plan.

    Covered: dataclass fields, except those with `metadata={"fingerprint": False}`; in pydantic sections, all fields
    except those with `json_schema_extra={"fingerprint": False}`; the class's qualified name without its module; and,
    for a plugged-in stage, its import path. An option that was added later has `"fingerprint": "if changed"`: it is not
    covered if its value is `unchanged` of its `json_schema_extra`, or, without such an entry, its default.

    Args:
        plan: hash of the plan. Used if the stage needs no layer; the other layers depend on the plan through that one.
    """
    path = path_of(stage)
    content = {
        **({"path": path} if path else {}),
        "layer": stage.layer,
        "version": stage.version,
        "stage": plain(stage),
        "needs": {name: needs[name] for name in stage.needs} if stage.needs else {"plan": plan},
    }
    return hashlib.sha256(canonical(content).encode()).hexdigest()[:16]


def layer_dirs(stages: Sequence[Stage], plan: str = "") -> dict[str, str]:
    """`<layer>-<fingerprint>` of every layer, each after the layers that it needs.

    Args:
        plan: hash of the plan whose samples the layers hold; empty if the folder can hold only one plan.

    Raises SpatialdataError if two stages compute one layer, a needed layer has no stage, or layers form a cycle.
    """
    by_layer: dict[str, Stage] = {}
    for stage in stages:
        if stage.layer in by_layer:
            raise SpatialdataError(f"two stages compute the layer '{stage.layer}': remove one from `layers`")
        by_layer[stage.layer] = stage
    prints: dict[str, str] = {}
    for layer in by_layer:
        _visit(layer, by_layer, prints, (), plan)
    return {layer: f"{layer}-{digest}" for layer, digest in prints.items()}


def _visit(layer: str, by_layer: Mapping[str, Stage], prints: dict[str, str], path: tuple[str, ...], plan: str) -> None:
    if layer in prints:
        return
    if layer in path:
        raise SpatialdataError(f"layers need each other in a cycle: {' -> '.join([*path, layer])}")
    if layer not in by_layer:
        computed = ", ".join(sorted(by_layer))
        raise SpatialdataError(
            f"layer '{path[-1]}' needs the layer '{layer}', which no stage computes (computed: {computed}): "
            "add it to `layers`"
        )
    for need in by_layer[layer].needs:
        _visit(need, by_layer, prints, (*path, layer), plan)
    prints[layer] = fingerprint(by_layer[layer], prints, plan)


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text on every machine."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """`value` as plain JSON values. Dataclasses and pydantic sections include their class's name.

    Passwords and tokens are left out: they do not affect the output.
    """
    return redact_values(_plain(value))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, BaseModel):
        return {"class": type(value).__qualname__, **{name: _plain(part) for name, part in _section(value).items()}}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.metadata.get("fingerprint", True)]
        old = _old_names(type(value))
        kept = {old.get(name, name): _plain(getattr(value, name)) for name in names}
        return {"class": type(value).__qualname__, **kept}
    return _plain_collection(value)


def _old_names(kind: type) -> dict[str, str]:
    """New name -> old name of renamed options of a section or a stage; fingerprints keep the old names."""
    renamed: Mapping[str, str] = getattr(kind, "renamed", {})
    return {new: old for old, new in renamed.items()}


def _section(section: BaseModel) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    old = _old_names(type(section))
    for name, info in type(section).model_fields.items():
        extra = info.json_schema_extra
        covered = extra.get("fingerprint", True) if isinstance(extra, dict) else True
        value = getattr(section, name)
        unchanged = extra.get("unchanged", info.default) if isinstance(extra, dict) else info.default
        if covered is True or (covered == "if changed" and value != unchanged):
            kept[old.get(name, name)] = value
    return kept


def _plain_collection(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, Set):
        return sorted((_plain(part) for part in cast("Set[Any]", value)), key=canonical)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, list | tuple):
        return [_plain(part) for part in cast("Sequence[Any]", value)]
    raise SpatialdataError(
        f"a stage's configuration has a {type(value).__name__}, which has no stable text for the fingerprint: use "
        'numbers, text, dataclasses or pydantic sections, or declare it with field(metadata={"fingerprint": False})'
    )
