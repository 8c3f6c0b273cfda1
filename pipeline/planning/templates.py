"""The templates of a plan: the arrangements of its furnished rooms, kept where workers find them.

A plan with the project's own templates only keeps none: they belong to the code.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

from ...shards.errors import BadInput
from ...sources.assets.asset import Asset
from ...sources.assets.table import AssetTable
from ...sources.scenes.furnish import impossible
from ...sources.scenes.spec import BUILTIN
from ...sources.scenes.template import PLANNED, Templates, builtin_templates, read_templates
from ..config import Config
from ..store.layers import LayerStore
from ..store.plan import Plan
from .request import request_of

FILE: Final = f"plan/{PLANNED}"


def settle_templates(config: Config, store: LayerStore, plan: Plan | None) -> str:
    """Write the templates of `scene.templates` beside the plan's tables; return their sha256, empty if there are none.

    Templates of a finished plan are read from it where a folder is gone. Existing ones are not replaced by others.

    Raises:
        BadInput: see `read_templates`; the models cannot fill a user's template, or none at all.
    """
    planned = str(plan.config.get("templates", "")) if plan else ""
    try:
        templates = read_templates(config.scene.templates)
    except BadInput:
        if planned and held_templates(store) == planned:
            return planned
        raise
    _check_possible(config, store, templates)
    if config.scene.templates == (BUILTIN,):
        return ""
    data = templates.to_json().encode()
    digest = hashlib.sha256(data).hexdigest()
    if (plan is None or digest == planned) and held_templates(store) != digest:
        store.write_file(FILE, data)
    return digest


def held_templates(store: LayerStore) -> str:
    """sha256 of the templates under OUT; empty if there are none."""
    try:
        return hashlib.sha256(store.read_file(FILE)).hexdigest()
    except OSError:
        return ""


def _check_possible(config: Config, store: LayerStore, templates: Templates) -> None:
    """Raise BadInput for a user's template that no models can fill, and where there is none that they can fill."""
    table = AssetTable.read(request_of(config, store).assets)
    assets: Sequence[Asset] = table.all()
    faults = {
        name: fault
        for name, room in templates.rooms.items()
        if (fault := impossible(room, templates.roles, assets, table.supports_of))
    }
    own = builtin_templates().rooms
    for name, fault in faults.items():
        if templates.rooms[name] != own.get(name):
            raise BadInput(f"scene.templates: template '{name}': {fault}; add such models, or change the template")
    kinds = {"garden" if kind == "garden" else "room" for kind in config.scene.kinds if kind != "open"}
    for kind in sorted(kinds):
        names = [name for name, room in templates.rooms.items() if room.kind == kind]
        if not names:
            raise BadInput(
                f"scene.templates: there is no template of kind {kind}, which scene.kinds asks for; name a folder that "
                f"has one, or '{BUILTIN}' too"
            )
        if faults.keys() >= set(names):
            raise BadInput(
                f"scene.kinds: the models can furnish no {kind} (template '{names[0]}': {faults[names[0]]}); add "
                "models of furniture, name other templates in scene.templates, or use scenes of kind open"
            )
