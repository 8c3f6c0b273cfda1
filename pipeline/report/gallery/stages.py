"""The funnel as a table: for each stage, samples in and out, reject reasons, and cost."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ...engine.progress_table import cost, spent
from .markup import bar, esc, link, plain, table

_HEAD: Final = ("stage", "", "in", "out", "rejected", "time", "GPU time", "per accepted")


def stages(funnel: Sequence[Mapping[str, Any]], planned: int, accepted: int) -> str:
    """The rows of `pipeline.report.funnel`, each with its reject reasons below it.

    Args:
        planned: samples in the plan, the full length of a bar.
    """
    seconds, gpus = (sum(row[column] for row in funnel) for column in ("seconds", "gpu_seconds"))
    head = [column for column in _HEAD if gpus or column != "GPU time"]
    most = max((number for row in funnel for number in row["rejects"].values()), default=0)

    def costs(seconds: float, gpu_seconds: float, each: float | None) -> str:
        """The last cells, empty without a value."""
        cells = [spent(seconds) if seconds else "", cost(each) if each else ""]
        cells[1:1] = [spent(gpu_seconds) if gpu_seconds else ""] if gpus else []
        return "".join(f"<td>{text}</td>" for text in cells)

    rows: list[str] = []
    for row in funnel:
        last = costs(row["seconds"], row["gpu_seconds"], row["seconds_per_accepted"])
        rows += [_stage(row, planned, last), _reasons(row["layer"], row["rejects"], most, len(head))]
    last = costs(seconds, gpus, seconds / accepted if accepted else None)
    foot = (
        f'<tr><th scope="row">accepted</th><td>{bar((("accepted", accepted / planned),))}</td><td>{planned:,}</td>'
        f"<td>{accepted:,}</td><td></td>{last}</tr>"
    )
    return table(head, rows, label="Funnel", kind="stages", foot=foot)


def _stage(row: Mapping[str, Any], planned: int, costs: str) -> str:
    rejected = sum(row["rejects"].values())
    drawn = bar((("accepted", row["samples_out"] / planned), ("rejected", rejected / planned)))
    return (
        f'<tr class="stage"><th scope="row">{esc(row["layer"])}</th><td>{drawn}</td><td>{row["samples_in"]:,}</td>'
        f"<td>{row['samples_out']:,}</td><td>{f'{rejected:,}' if rejected else ''}</td>{costs}</tr>"
    )


def _reasons(layer: str, rejects: Mapping[str, int], most: int, columns: int) -> str:
    """One row with a bar per reason, most frequent first, relative to the most frequent reason of all stages."""
    ordered = sorted(rejects.items(), key=lambda item: (-item[1], item[0]))
    items = "".join(
        f"<li>{link(plain(reason), state='rejected', reason=f'{layer}: {reason}')}"
        f"{bar((('rejected', number / most),))}<span>{number:,}</span></li>"
        for reason, number in ordered
    )
    return f'<tr class="reasons"><td></td><td colspan="{columns - 1}"><ul>{items}</ul></td></tr>' if items else ""


def proposals(counts: Mapping[str, int]) -> str:
    """The proposals that layer `pair` rejected and sampled again; empty if there are none."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(f"{plain(reason)} {number:,}" for reason, number in ordered)
    return f'<p class="faint">Proposals rejected and sampled again: {listed}.</p>' if listed else ""
