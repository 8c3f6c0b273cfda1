"""Text that the commands print for a user."""

from typing import Any

from ..engine.progress_table import duration, plural
from ..terminal import say, terminal

_LEFT_OUT = {
    "no_box": "the object is outside the target image, so there is no red box to draw",
    "too_many_objects": "the scene has more objects than the layout's masks have colors",
    "camera_unknown": "the camera's way is not known",
    "no_named_side": "no side of the object is named: its front is not known, or the view is between two named ones",
    "no_word_for_view": "the vocabulary has no word for the elevation or the distance",
    "no_phrase": "no phrase of the vocabulary says exactly this edit",
}


def print_build(summary: dict[str, Any]) -> None:
    say(
        f"{summary['accepted']:,} of {plural(summary['samples'], 'sample')} accepted in {duration(summary['seconds'])}"
        f" ({summary['rejected']:,} rejected)"
    )
    print_reasons(summary["rejects"])
    for found in summary["shards"]:
        print_shards(found)
    say(f"next: spatialdata view {summary['out']}")


def print_reasons(rejects: dict[str, int]) -> None:
    for reason, count in sorted(rejects.items(), key=lambda item: (-item[1], item[0])):
        say(f"  {count:>9,}  {reason}")


def print_shards(found: dict[str, Any]) -> None:
    from ..report.card.card import license_summary

    for split, counts in found["splits"].items():
        samples, shards = plural(counts["samples"], "sample"), plural(counts["shards"], "shard")
        say(f"{found['recipe']}/{split}: {samples} in {shards}")
    say(f"shards: {found['folder']}")
    say(f"license of the dataset: {license_summary(found)}")


def print_rebuild(found: dict[str, Any]) -> None:
    changed = ", ".join(found["changed"])
    state = f"changed: {changed}" if changed else "identical to before"
    say(f"unit {found['unit']}, {plural(found['samples'], 'sample')} rebuilt: {state}")
    for recipe in found["recipes"] if changed else ():
        say(f"next: spatialdata shard {found['out']} --recipe {recipe}")


def print_counts(found: dict[str, Any]) -> None:
    for name, value in found.items():
        say(f"{name.replace('_', ' ')}: {value}")


def print_verify(found: dict[str, Any]) -> None:
    for problem in found["problems"]:
        where = " ".join(part for part in (problem["shard"], problem["key"], problem["member"]) if part)
        say(f"{where}: {problem['message']}")
    for repaired in found["repaired"]:
        say(f"rebuilt {repaired}")
    count = len(found["problems"])
    state = "no damage" if found["ok"] else plural(count, "problem")
    if not found["shards"]:
        layers = "its layers and plan are not damaged" if found["ok"] else state
        state = f"there are no shards; {layers}; pack with `spatialdata shard {found['path']} --recipe full`"
    say(f"{plural(found['shards'], 'shard')}, {plural(found['samples'], 'sample')}: {state}")
    if len(found["image_sizes"]) > 1:
        sizes = " and ".join(f"{width} x {height} ({count:,})" for width, height, count in found["image_sizes"])
        say(f"images of {sizes}: stream them with buckets=True")
    if not found["ok"] and found["repairable"]:
        say(f"repair with: spatialdata verify {found['path']} --repair")


def print_export(found: dict[str, Any]) -> None:
    say(f"{plural(found['samples'], 'sample')} exported to {found['out']}")
    for reason, count in found["skipped"].items():
        say(f"{plural(count, 'sample')} left out: {_LEFT_OUT.get(reason) or _no_task(reason)}")


def _no_task(reason: str) -> str:
    return f"the layout does not support {reason.removeprefix('no_task_for_')} edits"


def print_gallery(found: dict[str, Any]) -> None:
    shown, of = found["samples"], found["of"]
    what = f"{shown} samples" if shown == of else f"{shown} of {of} samples, spread evenly (--limit shows more)"
    say(f"{what}, {found['bytes'] / 1e6:.0f} MB of pictures, in {found['seconds']:.1f} s")
    for note in found["notes"]:
        say(note)
    say(f"open in a browser: {found['gallery']}")


def print_doctor(found: dict[str, Any]) -> None:
    from rich.text import Text

    styles = {"ok": ("ok", "green"), "missing": ("missing", "red"), "optional": ("absent", "")}
    shown = terminal(highlight=False)
    for finding in found["findings"]:
        mark, style = styles[finding["state"]]
        mend = f"  ->  {finding['mend']}" if finding["mend"] else ""
        line = Text.assemble((f"{mark:<7}", style), f" {finding['name']}: {finding['detail']}{mend}")
        shown.print(line, soft_wrap=True)
