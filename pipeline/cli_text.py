"""What the command prints of a build, of shards, of what was verified and examined, for a person."""

from typing import Any

import click

from pipeline.live import duration, plural


def print_build(summary: dict[str, Any]) -> None:
    click.echo(
        f"{summary['accepted']:,} of {plural(summary['samples'], 'sample')} accepted in {duration(summary['seconds'])}"
        f" ({summary['rejected']:,} rejected)"
    )
    print_reasons(summary["rejects"])
    for found in summary["shards"]:
        print_shards(found)
    click.echo(f"next: spatialdata view {summary['out']}")


def print_reasons(rejects: dict[str, int]) -> None:
    for reason, count in sorted(rejects.items(), key=lambda item: (-item[1], item[0])):
        click.echo(f"  {count:>9,}  {reason}")


def print_shards(found: dict[str, Any]) -> None:
    from pipeline.report.card import licence_told

    for split, counts in found["splits"].items():
        samples, shards = plural(counts["samples"], "sample"), plural(counts["shards"], "shard")
        click.echo(f"{found['recipe']}/{split}: {samples} in {shards}")
    click.echo(f"shards: {found['folder']}")
    click.echo(f"licence of the whole: {licence_told(found)}")


def print_rebuild(found: dict[str, Any]) -> None:
    changed = ", ".join(found["changed"])
    state = f"other than before in {changed}" if changed else "the same bytes as before"
    click.echo(f"unit {found['unit']}, {plural(found['samples'], 'sample')} made again: {state}")
    for recipe in found["recipes"] if changed else ():
        click.echo(f"next: spatialdata shard {found['out']} --recipe {recipe}")


def print_counts(found: dict[str, Any]) -> None:
    for name, value in found.items():
        click.echo(f"{name.replace('_', ' ')}: {value}")


def print_verify(found: dict[str, Any]) -> None:
    for problem in found["problems"]:
        where = " ".join(part for part in (problem["shard"], problem["key"], problem["member"]) if part)
        click.echo(f"{where}: {problem['message']}")
    for repaired in found["repaired"]:
        click.echo(f"rebuilt {repaired}")
    count = len(found["problems"])
    state = "sound" if found["ok"] else plural(count, "problem")
    click.echo(f"{plural(found['shards'], 'shard')}, {plural(found['samples'], 'sample')}: {state}")
    if not found["ok"] and found["repairable"]:
        click.echo(f"mend with: spatialdata verify {found['path']} --repair")


def print_gallery(found: dict[str, Any]) -> None:
    shown, of = found["samples"], found["of"]
    what = f"{shown} samples" if shown == of else f"{shown} of {of} samples, spread evenly (--limit shows more)"
    click.echo(f"{what}, {found['bytes'] / 1e6:.0f} MB of pictures, in {found['seconds']:.1f} s")
    for note in found["notes"]:
        click.echo(note)
    click.echo(f"open in a browser: {found['gallery']}")


def print_doctor(found: dict[str, Any]) -> None:
    marks = {
        "ok": click.style("ok     ", fg="green"),
        "missing": click.style("missing", fg="red"),
        "optional": "absent ",
    }
    for finding in found["findings"]:
        mend = f"  ->  {finding['mend']}" if finding["mend"] else ""
        click.echo(f"{marks[finding['state']]} {finding['name']}: {finding['detail']}{mend}")
