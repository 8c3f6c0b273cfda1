"""Instructions in the wording of SpatialEdit's bench, which its trainer and its scores expect."""

from typing import assert_never

from ..schema import Edit, EditKind


def bench_wording(edit: Edit, noun: str) -> str:
    """The instruction for an edit; empty where the bench has none (removals, insertions, turns without a named view).

    `noun` is the edited object's name without article. The wording of moves and scalings refers to the red box that is
    drawn on the source image, so it fits only images with such a box (the export for that trainer draws it). The bench
    has no wording for sizes, so a scaling also states its factor.
    """
    match edit.kind:
        case "translate":
            return f"Move the {noun} into the red box and finally remove the red box."
        case "scale":
            size = f" at {size_text(edit.scale)}" if edit.known else ""
            return f"Move the {noun} into the red box{size} and finally remove the red box."
        case "rotate":
            return f"Rotate the {noun} to show the {view_name(edit.view)}." if edit.view else ""
        case "camera":
            if not edit.known:
                return ""
            zoom = "in" if edit.zoom > 1 else "out" if edit.zoom < 1 else "unchanged"
            return (
                "Move the camera.\n"
                f"- Camera rotation: Yaw {edit.yaw_deg + 0.0:.1f}°, Pitch {edit.pitch_deg + 0.0:.1f}°.\n"
                f"- Camera zoom: {zoom}.\n"
                "- Keep the 3D scene static; only change the viewpoint."
            )
        case "remove" | "insert" | "swap":
            return ""
        case _:
            assert_never(edit.kind)


def asks_for_box(kind: EditKind) -> bool:
    """Whether the bench's wording of such an edit asks for a red box on the source image."""
    match kind:
        case "translate" | "scale":
            return True
        case "rotate" | "remove" | "insert" | "camera" | "swap":
            return False
        case _:
            assert_never(kind)


def size_text(scale: float) -> str:
    """`1.5 times its size` for 1.5."""
    return f"{scale:.2f}".rstrip("0").rstrip(".") + " times its size"


def view_name(view: str) -> str:
    """`front view` for `the front view.`"""
    return view.strip().rstrip(".").removeprefix("the ")
