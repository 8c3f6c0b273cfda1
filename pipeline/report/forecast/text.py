"""Print a forecast."""

from typing import Any

from rich.table import Table

from ...engine.progress_table import duration
from ...terminal import terminal


def print_forecast(found: dict[str, Any]) -> None:
    """Print the result of `pipeline.report.forecast.forecast.forecast`."""
    console = terminal(highlight=False)

    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    measured, cluster = found["measured"], found["cluster"]
    derived = f" ({found['derived']} derived from others)" if found["derived"] else ""
    say(
        f"{found['samples']} samples{derived}, about {found['accepted']} accepted, on {cluster['nodes']} node(s) with "
        f"{cluster['cpus']:g} CPUs and {cluster['gpus']:g} GPUs in all"
    )
    say(f"from {measured['samples']} samples on {measured['machine']} ({measured['cpus']:g} CPUs)")
    table = Table("layer", "workers", "s/sample", "CPU-hours", "GPU-hours", "GiB")
    for stage in found["stages"]:
        table.add_row(
            stage["layer"],
            f"{stage['actors']}" + (f" ({stage['pool']})" if stage["pool"] != stage["layer"] else ""),
            f"{stage['seconds']:.3f}",
            f"{stage['cpu_hours']:.1f}" if stage["cpu_hours"] >= 0 else "",
            f"{stage['gpu_hours']:.1f}" if stage["gpu_hours"] else "",
            f"{stage['bytes'] / 2**30:.1f}",
        )
    console.print(table)
    say(f"wall time     {duration(found['wall_s'])}, bound by {found['bottleneck']} ({found['bound_by']})")
    best, twice = found["cut"], found["doubled"]
    actors = ", ".join(f"{name} {count}" for name, count in best["actors"].items())
    say(f"best          {duration(best['wall_s'])}, workers: {actors}; bound by {best['bottleneck']}")
    say(f"2x cluster    {duration(twice['wall_s'])}, best workers; bound by {twice['bottleneck']}")
    say(f"layers        {found['storage']['layers_bytes'] / 2**30:.1f} GiB")
    for recipe, shards in found["storage"]["shards"].items():
        say(f"shards        {recipe}: {shards['shards']} of {shards['bytes'] / 2**30:.1f} GiB in all")
    for note in found["notes"]:
        say(f"note: {note}")
