"""The request that a build makes to its source: sections of the configuration, and paths under OUT."""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from ...shards.layout import join
from ...sources.materials.table import Materials, from_json
from ...sources.registry import get_source
from ...sources.source import Request, SceneSource
from ..config import Config
from ..engine.render_device import gpus_of, with_resolved_device
from ..store.layers import LayerStore
from ..store.plan import Plan, PlanDamaged, damaged_plan

ASSETS: Final = "plan/assets.parquet"
MATERIALS: Final = "plan/materials.json"


def request_of(config: Config, store: LayerStore, say: Callable[[str], None] = lambda _: None) -> Request[Any]:
    """The request for planning, with the render device as configured."""
    return Request(
        options=config.source,
        out=str(store),
        folder=_inside(store, "plan"),
        samples=None if config.samples == "all" else config.samples,
        seed=config.seed,
        edits=config.edits.weights,
        invert=config.edits.invert,
        orbit=config.edits.orbit,
        scene=config.scene,
        render=config.render,
        gpus=gpus_of(config.render),
        # Inline, a single Blender process uses the whole machine.
        threads=os.cpu_count() or 1 if config.engine.kind == "inline" else 0,
        assets=_inside(store, ASSETS),
        say=say,
    )


def resolved_request(config: Config, store: LayerStore, plan: Plan | None = None) -> Request[Any]:
    """The request for the pair stage, with the plan's tables and physics and the render device of OUT, if they exist.

    Raises PlanDamaged if the plan's table of materials cannot be read.
    """
    renders = isinstance(get_source(config.source.kind), SceneSource)
    render = with_resolved_device(config, store) if renders else config.render
    planned = plan.config if plan is not None else {}
    switches = {"partial": planned.get("partial", "off"), "light_tree": planned.get("light_tree", "on")}
    render = render.model_copy(update=switches)
    scene = config.scene.model_copy(update={"physics": planned.get("physics", config.scene.physics)})
    request = replace(
        request_of(config, store),
        scene=scene,
        render=render,
        gpus=gpus_of(render),
        assets_sha256=planned.get("assets", ""),
    )
    if plan is None or "materials" not in planned:
        return request
    table = planned_materials(store, plan)
    return replace(request, scene=table.resolved(scene), materials=_inside(store, MATERIALS))


def planned_materials(store: LayerStore, plan: Plan) -> Materials:
    """The HDRIs, texture sets and room models of a plan. Raises PlanDamaged if their table cannot be read."""
    if "materials" not in plan.config:
        return Materials()
    try:
        return from_json(store.read_file(MATERIALS))
    except (FileNotFoundError, ValueError):
        raise PlanDamaged(damaged_plan(store, f"{MATERIALS} is missing or damaged")) from None


def _inside(store: LayerStore, name: str) -> str:
    """The path or URL of a file under OUT, for callers that open it themselves."""
    return store.path(name) if store.is_local else join(store.url, name)
