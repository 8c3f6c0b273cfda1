"""The kinds of scenes: which one a sample gets, and how it is composed.

Invariant: a scene depends on its arguments only. A build with open scenes only draws nothing for the choice of a kind.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Literal

import numpy as np

from ..assets.asset import Asset
from ..assets.carriers import AssetSupports
from .environment import compose_in_environment
from .furnish import impossible
from .furnished import furnish_scene
from .interior import Interior
from .layout import Scene, compose
from .needs import SceneNeeds
from .sites import MeshOf
from .spec import SceneKind, SceneOptions
from .template import Template, Templates, builtin_templates

_TEMPLATES: Final = 2
"""Templates that are tried for one scene."""
_NEAR_IN_GARDEN: Final = 0.3
"""Fraction of the scenes in gardens that are seen near what stands on the focus of the template."""


@dataclass(frozen=True)
class Furniture:
    """What furnished rooms are made of, and room models to put things into."""

    assets: Sequence[Asset]
    """Models of many categories."""
    supports_of: Callable[[str], AssetSupports]
    """Supports of a model, by uid."""
    mesh_of: MeshOf | None = None
    """Meshes of models, for physics; None: scenes do without."""
    templates: Templates = field(default_factory=builtin_templates)
    environments: Mapping[str, Interior] = field(default_factory=dict[str, Interior])
    """The free space of each room model, by the name of its file."""


def draw_kind(rng: np.random.Generator, options: SceneOptions) -> SceneKind:
    """The kind of a scene."""
    kinds = sorted(options.kinds)
    if len(kinds) == 1:
        return kinds[0]
    weights = np.array([options.kinds[kind] for kind in kinds])
    return kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]


def needs_supports(options: SceneOptions) -> bool:
    """Whether some scenes put objects on others."""
    return set(options.kinds) != {"open"}


def compose_scene(
    rng: np.random.Generator,
    assets: Sequence[Asset],
    furniture: Furniture | None,
    needs: SceneNeeds,
    options: SceneOptions,
    resolution: tuple[int, int],
) -> Scene | str:
    """A scene that meets what an edit needs of it, or why there is none.

    Args:
        assets: models of open scenes, and of those in room models.
        furniture: models of furnished rooms; None if `options` has open scenes only.
        resolution: width and height, pixels.
    """
    kind = draw_kind(rng, options)
    if kind == "environment":
        if furniture is None or not furniture.environments:
            raise ValueError("a scene of kind environment needs room models")
        return compose_in_environment(rng, furniture.environments, assets, needs, options, resolution)
    match kind:
        case "open":
            return compose(rng, assets, needs, options, resolution)
        case "room" | "tabletop" | "garden":
            if furniture is None:
                raise ValueError(f"a scene of kind {kind} needs furniture")
            near = kind == "tabletop" or (kind == "garden" and bool(rng.random() < _NEAR_IN_GARDEN))
            view = "near" if near else "room"
            roles = furniture.templates.roles
            arguments = (furniture.assets, furniture.supports_of, furniture.mesh_of, needs, options, resolution)
            scene: Scene | str = "no_template_fits_models"
            for template in islice(_drawn(rng, furniture, "garden" if kind == "garden" else "room"), _TEMPLATES):
                scene = furnish_scene(rng, view, template, roles, *arguments)
                if isinstance(scene, Scene):
                    break
            return scene


def _drawn(rng: np.random.Generator, furniture: Furniture, kind: Literal["room", "garden"]) -> Iterator[Template]:
    """Templates of a kind whose needed items the models can play, in random order."""
    rooms = [template for template in furniture.templates.rooms.values() if template.kind == kind]
    for number in rng.permutation(len(rooms)).tolist():
        if not impossible(rooms[number], furniture.templates.roles, furniture.assets, furniture.supports_of):
            yield rooms[number]
