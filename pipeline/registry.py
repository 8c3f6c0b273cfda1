"""The stages of the package, one line each. A stage's module is imported when the stage is used."""

import dataclasses
import importlib
from collections.abc import Mapping
from graphlib import TopologicalSorter
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..shards.errors import BadInput
from ..shards.layout import join
from ..shards.options import with_new_keys
from ..shards.stage import Stage
from ..sources.registry import get_source
from . import plug_ins
from .config import Config, LayerOptions, nearest

STAGES: dict[tuple[str, str], str] = {
    ("screen", "junk"): "spatialdata_builder.annotators.screen:JunkScreen",
    ("metric", "exact"): "spatialdata_builder.annotators.exact:ExactMetric",
    ("metric", "metric3d"): "spatialdata_builder.annotators.metric3d:Metric3D",
    ("metric", "depth_anything_v2"): "spatialdata_builder.annotators.depth_anything:DepthAnythingMetric",
    ("metric", "vggt"): "spatialdata_builder.annotators.vggt:VggtMetric",
    ("normal", "exact"): "spatialdata_builder.annotators.exact:ExactNormal",
    ("normal", "metric3d"): "spatialdata_builder.annotators.metric3d:Metric3DNormal",
    ("normal", "from_metric"): "spatialdata_builder.annotators.metric3d:NormalFromMetric",
    ("depth", "exact"): "spatialdata_builder.annotators.exact:ExactDepth",
    ("depth", "depth_anything_v2"): "spatialdata_builder.annotators.depth_anything:DepthAnything",
    ("segment", "exact"): "spatialdata_builder.annotators.exact:ExactSegments",
    ("segment", "sam2"): "spatialdata_builder.annotators.sam2:Sam2Segments",
    ("line", "exact"): "spatialdata_builder.annotators.exact:ExactLines",
    ("line", "informative_drawings"): "spatialdata_builder.annotators.drawings:InformativeDrawings",
    ("line", "xdog"): "spatialdata_builder.annotators.xdog:XDoG",
    ("instruction", "template"): "spatialdata_builder.annotators.templates:TemplateInstruction",
    ("instruction", "qwen3_vl"): "spatialdata_builder.annotators.qwen3_vl:Qwen3VLInstruction",
    ("checks", "geometry"): "spatialdata_builder.annotators.checks:GeometryChecks",
    ("judge", "viescore"): "spatialdata_builder.annotators.judge:VieScoreJudge",
}
"""All stages except those of layer `pair`, which the sources name; see `known_stages`."""
LEFT_OUT = "none"
ANSWERS = "answers"


def known_stages(config: Config) -> dict[tuple[str, str], str]:
    """The stages that a build may have: (layer, name) -> `package.module:Class`."""
    source = get_source(config.source.kind)
    return {**STAGES, ("pair", source.pair_stage): source.pair_class}


def build_stages(config: Config, pair_arguments: Mapping[str, Any], out: str = "") -> list[Stage]:
    """The stages of a build, each after the layers that it needs: the source's defaults, overridden layer by layer.

    Args:
        pair_arguments: fields of the pair stage that the plan sets (its root, its asset table).
        out: URL of OUT; stages with a field `answers` store the answers of models under `OUT/answers`.

    Raises:
        BadInput: a stage or an option does not exist, the pair stage is not the source's, an option of the pair stage
            is set by the source or the plan, or a layer that another one needs is missing.
    """
    source, known = get_source(config.source.kind), known_stages(config)
    defaults = {**source.layers, "pair": source.pair_stage}
    chosen = {name: LayerOptions(stage=stage, options={}) for name, stage in defaults.items()}
    for name, layer in config.layers.items():
        # Options alone (`line: {views: [target]}`) are options of the default stage.
        default = chosen[name].stage if name in chosen else ""
        chosen[name] = layer if layer.stage else LayerOptions(stage=default, options=layer.options)
    for name, options in source.layer_options(config.scene).items():
        if (layer := chosen[name]).stage == defaults[name]:
            chosen[name] = LayerOptions(stage=layer.stage, options={**options, **layer.options})
    _check_pair(config, chosen["pair"], source.pair_stage, pair_arguments)
    chosen = {name: layer for name, layer in chosen.items() if layer.stage != LEFT_OUT}
    stages = {
        name: _make(known, name, layer, {**(pair_arguments if name == "pair" else {}), **_resources(config, name)}, out)
        for name, layer in chosen.items()
    }
    for name, reason in source.not_exact.items():
        if name in chosen and chosen[name].stage == "exact":
            raise BadInput(f"layers.{name}: {reason}: remove the layer, or name a model")
    _check_normals(chosen)
    for name, stage in stages.items():
        for need in stage.needs:
            if need not in stages:
                raise BadInput(f"layers.{name}: stage '{chosen[name].stage}' needs layer '{need}': add it to layers")
    order = TopologicalSorter({name: stage.needs for name, stage in sorted(stages.items())}).static_order()
    return [stages[name] for name in order]


def _check_normals(chosen: Mapping[str, LayerOptions]) -> None:
    """`from_metric` needs a metric stage that keeps its normals."""
    normal, metric = chosen.get("normal"), chosen.get("metric")
    if normal is None or normal.stage != "from_metric":
        return
    if metric is None or metric.stage != "metric3d" or not metric.options.get("normals"):
        raise BadInput(
            "layers.normal: from_metric takes the normals that layer metric keeps: set layers.metric to "
            "{stage: metric3d, normals: true}, or layers.normal to metric3d"
        )


def _check_pair(config: Config, chosen: LayerOptions, stage: str, settled: Mapping[str, Any]) -> None:
    if chosen.stage != stage:
        raise BadInput(
            f"layers.pair: the pair stage of source.kind {config.source.kind} is '{stage}', not "
            f"'{chosen.stage}': remove the stage, or set source.kind"
        )
    for option in chosen.options:
        if option in settled:
            raise BadInput(f"layers.pair.{option}: set by `source`, `scene`, `render` and the plan: set it there")


def _resources(config: Config, layer: str) -> dict[str, float]:
    """The `engine.resources` of a layer, for stages that adapt to them (threads, batches)."""
    asked = {str(name): resources for name, resources in config.engine.resources.items()}.get(layer)
    values = {"cpus": asked.cpus, "gpus": asked.gpus} if asked else {}
    return {name: value for name, value in values.items() if value is not None}


def _make(
    known: Mapping[tuple[str, str], str], layer: str, chosen: LayerOptions, arguments: Mapping[str, Any], out: str
) -> Stage:
    path = plug_ins.is_path(chosen.stage)
    kind: Any = plug_ins.load(layer, chosen.stage) if path else _known(known, layer, chosen.stage)
    fields = {field.name for field in dataclasses.fields(kind) if field.init}
    defaults = {ANSWERS: join(out, ANSWERS)} if ANSWERS in fields and out else {}
    try:
        options = with_new_keys(chosen.options, kind.renamed)
    except ValueError as error:
        raise BadInput(f"layers.{layer}: {error}") from None
    for option in options:
        if option not in fields:
            allowed = ", ".join(sorted(fields))
            raise BadInput(
                f"unknown key 'layers.{layer}.{option}'{nearest(option, sorted(fields))}; allowed: {allowed}"
            )
    try:
        return TypeAdapter(kind).validate_python({**defaults, **options, **arguments})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"layers.{layer}.{where}: {first['msg']} (got {first['input']!r})") from None


def _known(known: Mapping[tuple[str, str], str], layer: str, name: str) -> Any:
    """The class of a built-in stage, or of the source's pair stage."""
    available = sorted(stage for other, stage in known if other == layer)
    if (layer, name) not in known:
        raise BadInput(
            f"layers.{layer}: no stage '{name}'{nearest(name, available)}; allowed: {', '.join([*available, LEFT_OUT])}"
        )
    module, _, kind = known[layer, name].partition(":")
    return getattr(importlib.import_module(module), kind)
