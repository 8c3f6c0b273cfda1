"""What a build asks its source with: the sections of the configuration, and places under OUT."""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from ...shards.layout import join
from ...sources.registry import get_source
from ...sources.source import Request, SceneSource
from ..config import Config
from ..engine.render_device import gpus_of, with_resolved_device
from ..store.layers import LayerStore
from ..store.plan import Plan

ASSETS: Final = "plan/assets.parquet"


def request_of(config: Config, store: LayerStore, say: Callable[[str], None] = lambda _: None) -> Request[Any]:
    """For a plan, with the render device as configured."""
    return Request(
        options=config.source,
        out=str(store),
        folder=_inside(store, "plan"),
        samples=None if config.samples == "all" else config.samples,
        seed=config.seed,
        edits=config.edits.weights,
        invert=config.edits.invert,
        scene=config.scene,
        render=config.render,
        gpus=gpus_of(config.render),
        # Inline, one Blender has the machine to itself.
        threads=os.cpu_count() or 1 if config.engine.kind == "inline" else 0,
        assets=_inside(store, ASSETS),
        say=say,
    )


def resolved_request(config: Config, store: LayerStore, plan: Plan | None = None) -> Request[Any]:
    """For the pair stage, with the plan's table of assets and the render device that OUT settled, where it has them."""
    renders = isinstance(get_source(config.source.kind), SceneSource)
    render = with_resolved_device(config, store) if renders else config.render
    digest = plan.config.get("assets", "") if plan is not None else ""
    return replace(request_of(config, store), render=render, gpus=gpus_of(render), assets_sha256=digest)


def _inside(store: LayerStore, name: str) -> str:
    """The path or URL of a file under OUT, for those who open it themselves."""
    return store.path(name) if store.is_local else join(store.url, name)
