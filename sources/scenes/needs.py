"""What an edit asks of the scene that is sampled for it: plain numbers, so that scenes know no kind of edit."""

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True)
class SceneNeeds:
    """The defaults are those of an edit that needs no room."""

    gap: Range = (0.3, 0.9)
    """Space between neighbours in a row, in sizes of the two: edits that need room get more."""
    fill: Range = (0.6, 0.85)
    """Share of the frame that the group fills: edits that move things leave a border."""
    wall_gap: Range = (0.05, 0.6)
    """Space between the group and the walls behind it, in widths of the group."""
    container: bool = False
    """Some scenes have a container and an object that fits into it, where the assets allow it."""
    turnable: bool = False
    """Only objects that look different when they are turned may be edited."""
    editable: int = 1
    """Least number of objects that are seen well enough to be edited."""
