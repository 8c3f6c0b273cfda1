"""When an edit can be seen: what is measured of each object, and the limits that it must keep."""

from dataclasses import dataclass
from typing import Protocol

from ..scenes.layout import FIT_SHARE


class Visibility(Protocol):
    """What is seen of one object in one state: the renderer's measure, or a forecast. Zero when absent."""

    @property
    def own_px(self) -> float:
        """Pixels of the specification's frame that the object alone would cover."""
        ...

    @property
    def visible(self) -> float:
        """Share of them that nothing hides."""
        ...

    @property
    def in_frame(self) -> float:
        """Share of the object that falls inside the frame."""
        ...


@dataclass(frozen=True)
class Limits:
    """When an edit can be seen. Shares of the frame's area (`share`), of its smaller side (`shift`), or plain."""

    min_visible: float = 0.35
    min_visible_asked: float = 0.2
    """Where the edit asks for occlusion: behind something, or into it."""
    in_frame: float = 0.85
    least_share: float = 0.012
    most_share: float = 0.45
    shown: float = 0.2
    """Of any object of which something is seen, in either image: the share that neither the frame nor others hide."""
    gone: float = 0.01
    """An object of which no more is seen is not in the image at all."""
    shift: float = 0.06
    turn_shift: float = 0.03
    size_ratio: float = 1.25
    """Of the areas, for a change of scale."""
    framed: float = 0.5
    """Of the objects, after a camera edit."""


def forecast_limits(min_visible: float) -> Limits:
    """What a forecast must show: a prism covers more than its object, so more of the frame than a render, and a little
    more of everything else."""
    return Limits(min_visible=min_visible, in_frame=0.9, least_share=FIT_SHARE[0], shift=0.07, framed=0.6)
