"""Requirements of an edit on its scene, as plain numbers, so that scenes do not depend on kinds of edit."""

from collections.abc import Sequence
from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True)
class SceneNeeds:
    """Requirements on a scene. The defaults are those of an edit that needs no space."""

    gap: Range = (0.3, 0.9)
    """Space between neighbors in a row, in mean sizes of the two; more for edits that need space."""
    fill: Range = (0.6, 0.85)
    """Share of the frame that the group fills; edits that move objects leave a border."""
    wall_gap: Range = (0.05, 0.6)
    """Space between the group and the walls behind it, in widths of the group."""
    container: bool = False
    """Whether some scenes have a container and an object that fits into it, if the assets allow it."""
    turnable: bool = False
    """Whether only objects that look different after a rotation may be edited."""
    upright: bool = False
    """Whether only upright objects may be edited: what lies, leans or is in a heap keeps its place."""
    editable: int = 1
    """Least number of objects that are visible enough to be edited."""
    carriers: bool = False
    """Whether an object may be edited on or in which others stand: they move along."""


def joint(needs: Sequence[SceneNeeds]) -> SceneNeeds:
    """Requirements on a scene for several edits of different objects; these decide which objects they may change."""

    def widest(ranges: Sequence[Range]) -> Range:
        return max(low for low, _ in ranges), max(high for _, high in ranges)

    low, high = (min(one.fill[end] for one in needs) for end in (0, 1))
    return SceneNeeds(
        gap=widest([one.gap for one in needs]),
        fill=(low, high),
        wall_gap=widest([one.wall_gap for one in needs]),
        container=any(one.container for one in needs),
        editable=2 * len(needs),
        carriers=any(one.carriers for one in needs),
    )
