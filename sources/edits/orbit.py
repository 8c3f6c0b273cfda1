"""The camera edits of a grid: from its first view to each of the others, in one scene.

Invariant: as for `sources.edits.proposals`, a proposal depends only on its arguments. Poses are exact: each camera is
at the azimuth, elevation and distance of its view, and looks at the middle of the object's box or at the pivot of the
scene.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from ...shards.geometry import wrap_degrees
from ..assets.asset import Asset
from ..scenes.camera import Orbit, eye
from ..scenes.grid import OrbitOptions
from ..scenes.layout import Scene, compose, too_near
from ..scenes.needs import SceneNeeds
from ..scenes.silhouettes import forecast
from ..scenes.spec import EditSpec, SceneOptions, SceneSpec, State
from ..scenes.studio import compose_studio
from .camera import view_around
from .draft import Draft, specify
from .groups import Proposal
from .judge import forecast_fault
from .limits import forecast_limits
from .proposals import SCENE, Rejection, generator

_NEEDS: Final = SceneNeeds(fill=(0.55, 0.65))
"""At the medium distance: 0.8 of it shows most objects whole, 1.25 of it none too small."""
_ABOVE_FLOOR: Final = 0.02
"""Least height of the camera above the floor, as a share of its distance from the pivot."""


def propose_orbit(
    assets: Sequence[Asset],
    grid: OrbitOptions,
    options: SceneOptions,
    resolution: tuple[int, int],
    seed: int,
    number: int,
) -> Proposal | Rejection:
    """The edits from the first view of a grid to the others, in the order of `OrbitOptions.views`.

    In place of a view that is not visible enough in the forecast, or not above the floor, the reason.

    Args:
        assets: assets that the scene may contain.
        resolution: width and height, pixels.
        seed: seed of the scene, not negative.
        number: 0, 1, ...; each gives another scene.
    """
    rng = generator(seed, number, SCENE)
    found = _studio(rng, assets, grid, options, resolution)
    if isinstance(found, str):
        return Rejection(found)
    scene, orbits = found
    if fault := _fault(scene, scene.orbit):
        return Rejection(fault)
    return Proposal(tuple(_edit(scene, orbit, options.min_visible) for orbit in orbits[1:]))


def _studio(
    rng: np.random.Generator,
    assets: Sequence[Asset],
    grid: OrbitOptions,
    options: SceneOptions,
    resolution: tuple[int, int],
) -> tuple[Scene, tuple[Orbit, ...]] | str:
    """The scene as the first view shows it, and the camera of each view."""
    views = grid.views()
    if grid.of == "object":
        return compose_studio(rng, assets, views, options, resolution)
    scene = compose(rng, assets, _NEEDS, options.model_copy(update={"walls": 0.0}), resolution)
    if isinstance(scene, str):
        return scene
    orbits = tuple(
        replace(
            scene.orbit,
            azimuth_deg=round((scene.orbit.azimuth_deg + view.azimuth_deg) % 360.0, 6),
            elevation_deg=round(view.elevation_deg, 6),
            distance=round(scene.orbit.distance * view.distance, 6),
        )
        for view in views
    )
    camera = orbits[0].pose()
    outlook = forecast(scene.objects, scene.placements, camera, resolution, scene.supports)
    return replace(scene, orbit=orbits[0], camera=camera, outlook=outlook), orbits


def _edit(scene: Scene, orbit: Orbit, min_visible: float) -> SceneSpec | str:
    """The edit from the view of a scene to another one, or why it is not possible."""
    first = scene.orbit
    edit = EditSpec(
        "camera",
        0,
        yaw_deg=round(wrap_degrees(orbit.azimuth_deg - first.azimuth_deg), 6),
        pitch_deg=round(orbit.elevation_deg - first.elevation_deg, 6),
        zoom=first.distance / orbit.distance,
    )
    states = (State(dict(scene.placements), one.pose()) for one in (first, orbit))
    draft = Draft(edit, *states)
    if fault := _fault(scene, orbit) or forecast_fault(scene, draft, forecast_limits(min_visible)):
        return fault
    spec = specify(scene, draft)
    return replace(spec, edit=replace(edit, view=view_around(spec, spec.target)))


def _fault(scene: Scene, orbit: Orbit) -> str | None:
    """Why the camera cannot be there: `below_floor`, `camera_too_near`."""
    if eye(orbit.pose())[2] < _ABOVE_FLOOR * orbit.distance:
        return "below_floor"
    return "camera_too_near" if too_near(scene.objects, scene.placements, orbit) else None
