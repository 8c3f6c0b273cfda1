"""The part of a card on provenance: source, plan, configuration, layers, models, prompts."""

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any, Final, cast

import yaml

from ....shards.licenses import label
from ....shards.markdown import code, escape, fenced, link, table
from ....shards.recipes import RECIPES
from ....shards.redact import redact_values
from ....shards.schema import EDIT_KINDS
from ....sources.registry import get_source
from ....sources.rendered.facts import ESTIMATOR
from ....sources.source import NOT_IN_CARD
from ...config import Config
from ..layer_origins import LayerOrigin, without_place
from .facts import CardFacts

_OF_ONE_MACHINE: Final = {"shard": {"splits"}, "engine": True, "orient": True}
_WHOLE: Final = ("layers", "edits")
"""Sections that are shown completely, because their absent keys carry information."""


def making(facts: CardFacts) -> Iterator[str]:
    """The source of the pairs, the counts of planned, rejected and accepted samples, and how to reproduce them."""
    build, plan = facts.build, facts.build.plan
    yield "## How it was made\n"
    yield f"{get_source(build.config.source.kind).how_made(_rendered(facts))}\n"
    pair = next(origin for origin in facts.origins if origin.layer == "pair")
    if pair.options.get("unchanged", "copy") == "copy":
        yield (
            "Outside `changed`, source and target have identical pixels"
            f"{' (up to JPEG compression)' if facts.options.codecs.image == 'jpg' else ''}. Camera edits may change "
            "every pixel.\n"
        )
    yield (
        f"Made with spatialdata {code(facts.version)}; plan {code(plan.hash[:16])}, {plan.samples} samples, "
        f"seed {plan.seed}. {_funnel(facts)}\n"
    )
    yield (
        "With this configuration (defaults for all other keys), the same source, the versions below and the same kind "
        "of processor, `spatialdata build` produces identical samples:\n"
    )
    yield fenced(yaml.safe_dump(_configuration(facts), sort_keys=False, allow_unicode=True), "yaml")
    versions = sorted(facts.census.versions | {f"{name}={number}" for name, number in plan.versions.items()})
    yield f"Versions: {', '.join(code(text) for text in versions)}.\n"


def layers(facts: CardFacts) -> Iterator[str]:
    """The stage, model and prompts of each layer."""
    yield "## Layers, models and prompts\n"
    rows = [
        [
            origin.layer,
            escape(origin.stage),
            origin.version,
            link(origin.model, origin.address) if origin.model else "",
            _revision(facts, origin),
            code(origin.fingerprint),
        ]
        for origin in facts.origins
    ]
    yield table(["layer", "stage", "version", "model", "revision", "fingerprint"], rows)
    prompts = [
        [origin.layer, code(prompt.name), prompt.version or "own", code(prompt.sha256)]
        for origin in facts.origins
        for prompt in origin.prompts
    ]
    if prompts:
        yield "Prompts, with the first 16 digits of their SHA-256:\n"
        yield table(["layer", "file", "version", "sha256"], prompts)
    if any(origin.model for origin in facts.origins):
        yield "Models have their own licenses, stated on their pages. The next sections do not cover them.\n"


def _rendered(facts: CardFacts) -> str:
    render = facts.build.config.render
    found = {
        revision
        for estimators in facts.census.maps.values()
        for estimator, revision in estimators
        if estimator == ESTIMATOR
    }
    by = f" by {' and '.join(map(code, sorted(found)))}" if found else ""
    noise = "denoised" if render.denoise else "not denoised"
    return f"rendered{by} with Cycles at {render.samples} samples per pixel, {noise}."


def _funnel(facts: CardFacts) -> str:
    """The counts of rejected and accepted samples as a sentence."""
    if facts.rejects is None:
        return "The number of rejected samples is not known: some records of the layers are missing."
    planned, recipe = facts.build.plan.samples, RECIPES[facts.recipe.recipe]
    accepted = planned - facts.rejects.samples
    reasons = ", ".join(f"{escape(reason)} {count}" for reason, count in facts.rejects.reasons.items())
    text = f"{facts.rejects.samples} were rejected{f' ({reasons})' if reasons else ''}, {accepted} accepted"
    why = [f"edits of this recipe are {', '.join(recipe.edits)}"] if recipe.edits != EDIT_KINDS else []
    if facts.options.licenses:
        why.append(f"all models that a sample shows are under {', '.join(map(label, facts.options.licenses))}")
    if accepted != facts.recipe.samples:
        text += f", {facts.recipe.samples} of these packed{f' ({chr(59).join(why)})' if why else ''}"
    return f"{text}."


def _configuration(facts: CardFacts) -> dict[str, Any]:
    """The configuration that determines the samples, without defaults, paths of this machine and engine options."""
    config = facts.build.config
    fields = type(config.source).model_fields
    places = {name for name, field in fields.items() if field.json_schema_extra == NOT_IN_CARD}
    values = redact_values(config.model_dump(mode="json", exclude=cast("Any", _OF_ONE_MACHINE | {"source": places})))
    values["scene"]["light"]["hdris"] = list(map(_without_folder, values["scene"]["light"]["hdris"]))
    values["scene"]["surfaces"] = list(map(_without_folder, values["scene"]["surfaces"]))
    values["scene"]["environments"]["root"] = _without_folder(values["scene"]["environments"]["root"])
    values["shard"]["splits"] = dict(facts.build.plan.config["shard"]["splits"])
    usual = get_source(config.source.kind).layers
    chosen = {name: _layer(facts, name, layer) for name, layer in values["layers"].items()}
    values["layers"] = {name: layer for name, layer in chosen.items() if layer != {"stage": usual.get(name)}}
    return without_place(_changed(values, Config().model_dump(mode="json")))


def _without_folder(name: str) -> str:
    """A path without the folders of this machine."""
    return f"./{PurePath(name).name}" if "/" in name else name


def _layer(facts: CardFacts, name: str, layer: Mapping[str, Any]) -> dict[str, Any]:
    """One entry of `layers`, with the options that the fingerprint covers."""
    origin = next((origin for origin in facts.origins if origin.layer == name), None)
    covered = {"model", "revision", "prompt", *(origin.options if origin else ())}
    options = {option: value for option, value in layer["options"].items() if option in covered}
    return {"stage": layer["stage"] or (origin.stage if origin else "none"), **options}


def _changed(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that differ from `defaults`, section by section."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        default = defaults.get(name)
        if value == default:
            continue
        inner = isinstance(value, Mapping) and isinstance(default, Mapping) and name not in _WHOLE
        found[name] = _changed(cast("Any", value), cast("Any", default)) if inner else value
    return found


def _revision(facts: CardFacts, origin: LayerOrigin) -> str:
    """The revision of the loaded model as stored in the samples, else the requested revision."""
    loaded = {
        revision
        for member, estimators in facts.census.maps.items()
        if member.removeprefix("source_") == origin.layer
        for _, revision in estimators
        if revision
    }
    return ", ".join(map(code, sorted(loaded) or [origin.revision])) if loaded or origin.revision else ""
