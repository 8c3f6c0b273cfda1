"""The visibility of objects, and the limits that a pair must meet."""

from dataclasses import dataclass
from typing import Protocol

from ..scenes.layout import FIT_SHARE, FURNISHED_FIT_SHARE


class Visibility(Protocol):
    """Visibility of one object in one state, measured by the renderer or forecast. Zero if the object is absent."""

    @property
    def own_px(self) -> float:
        """Pixels of the frame that the object would cover if it were alone."""
        ...

    @property
    def visible(self) -> float:
        """Share of these pixels that no other object hides."""
        ...

    @property
    def in_frame(self) -> float:
        """Share of the object's silhouette inside the frame."""
        ...


@dataclass(frozen=True)
class Limits:
    """When an edit is visible. `*_share`: of the frame's area; `*shift`: of its smaller side; others as described."""

    min_visible: float = 0.35
    min_visible_asked: float = 0.2
    """Replaces `min_visible` if the edit asks for occlusion (behind something, or into it)."""
    in_frame: float = 0.85
    least_share: float = 0.012
    least_share_furnished: float = 0.004
    """Replaces `least_share` in a furnished scene."""
    most_share: float = 0.45
    shown: float = 0.2
    """Least visible share of any object that is in an image: neither hidden nor outside the frame."""
    gone: float = 0.01
    """At most this visible share: the object counts as not in the image."""
    shift: float = 0.06
    turn_shift: float = 0.03
    size_ratio: float = 1.25
    """Least ratio of the areas, for a change of scale."""
    framed: float = 0.5
    """Least share of the objects that are in the frame after a camera edit."""


def forecast_limits(min_visible: float) -> Limits:
    """The limits for a forecast, stricter than those for a render, because a prism covers more than its object."""
    return Limits(
        min_visible=min_visible,
        in_frame=0.9,
        least_share=FIT_SHARE[0],
        least_share_furnished=FURNISHED_FIT_SHARE[0],
        shift=0.07,
        framed=0.6,
    )
