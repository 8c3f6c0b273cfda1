"""The report of an evaluation: JSON, Markdown and LaTeX tables, and a page with pictures, worst first.

    REPORT/report.json      everything, with the values of each key
    REPORT/report.md        tables for people
    REPORT/report.tex       the table of all samples, for a paper (package booktabs)
    REPORT/index.html       pictures of the worst keys, two editors side by side
    REPORT/media/...        its pictures

Invariant: tables and JSON hold the same numbers, and no number stands without those of *copy* and *oracle*.
"""

import html
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from ..shards.codecs import U8, encode_image
from ..shards.errors import BadInput
from ..shards.markdown import escape, table
from ..shards.writer import replace_file
from .aggregate import CONFIDENCE, RESAMPLES, Cell, Mean, Table, differences, failures, normalized, standing, tables
from .evaluate import Box, Evaluation, Images, Item
from .metrics.metric import ABSENT, METRICS, Metric
from .truth import Truth

FORMAT: Final = "spatialdata-evaluation-1"
MAX_SHOWN: Final = 200
"""Keys of which the page shows pictures, at most."""
_GAIN: Final = 4
"""Differences are shown this many times as strong."""


def check_place(place: Path) -> None:
    """Raise BadInput if `place` has other content than a report."""
    if place.is_dir():
        if any(place.iterdir()) and not _is_report(place / "report.json"):
            raise BadInput(f"{place} has other content than a report: give another --out")
    elif place.exists():
        raise BadInput(f"{place} is not a folder: give another --out")


def _is_report(path: Path) -> bool:
    try:
        return json.loads(path.read_bytes()).get("format") == FORMAT
    except (OSError, ValueError, AttributeError):
        return False


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """The content of `report.json`."""
    benchmark = evaluation.benchmark
    values: dict[str, Any] = {
        "format": FORMAT,
        "benchmark": {"name": benchmark.name, "digest": benchmark.digest, "samples": len(evaluation.items)},
        "intervals": {"confidence": CONFIDENCE, "resamples": RESAMPLES, "of": "families", "seed": 0},
        "metrics": {name: _about(metric) for name, metric in METRICS.items()},
        "absent": absent(evaluation),
        "editors": [_editor(evaluation, number) for number in range(len(evaluation.editors))],
        "keys": {item.key: _item(item) for item in evaluation.items},
    }
    if len(evaluation.editors) == 2:
        found = differences(evaluation.items)
        values["first_minus_second"] = {name: _mean(mean) for name, mean in found.items()}
    return values


def absent(evaluation: Evaluation) -> dict[str, str]:
    """Metrics without any number, and why."""
    judged = {name for item in evaluation.items for name in item.oracle}
    return {name: "no sample of the set has it" for name in METRICS if name not in judged} | dict(ABSENT)


def _about(metric: Metric) -> dict[str, Any]:
    return {
        "better": metric.better,
        "unit": metric.unit,
        "about": metric.about,
        "worst": metric.worst,
        "worst_is_share_of_diagonal": metric.per_diagonal,
    }


def _mean(mean: Mean) -> dict[str, float]:
    return {"mean": round(mean.mean, 6), "low": round(mean.low, 6), "high": round(mean.high, 6)}


def _editor(evaluation: Evaluation, number: int) -> dict[str, Any]:
    editor, extra = evaluation.editors[number], evaluation.extra[number]
    found = tables(evaluation, number)
    return {
        "editor": editor.editor,
        "seed": editor.seed,
        "folder": str(editor.folder),
        "failures": failures(evaluation.items, number),
        "resized": sum(item.editors[number].resized for item in evaluation.items),
        "extra": len(extra),
        "extra_files": list(extra[:10]),
        "groups": {
            dimension: {label: {name: cell.as_json() for name, cell in cells.items()} for label, cells in group.items()}
            for dimension, group in found.items()
        },
    }


def _item(item: Item) -> dict[str, Any]:
    return {
        "groups": item.groups,
        "copy": _rounded(item.copy),
        "oracle": _rounded(item.oracle),
        "editors": [
            {
                "failure": judged.failure,
                "detail": judged.detail,
                "resized": judged.resized,
                "values": _rounded(judged.values),
                "normalized": _rounded(normalized(item, number)),
                "boxes": [[round(value, 2) for value in box] for box in judged.boxes],
            }
            for number, judged in enumerate(item.editors)
        ],
    }


def _rounded(values: Any) -> dict[str, float | None]:
    return {name: None if value is None else round(value, 6) for name, value in values.items()}


def number(metric: Metric, value: float) -> str:
    """A value as tables show it."""
    return f"{value:.1f}" if metric.unit in ("dB", "px") else f"{value:.3f}"


def rows(cells: Sequence[Table]) -> Iterator[tuple[Metric, list[Cell]]]:
    """The cells of one group for all editors, metric by metric."""
    for name, metric in METRICS.items():
        if name in cells[0]:
            yield metric, [table[name] for table in cells]


def write_tables(evaluation: Evaluation, place: Path) -> dict[str, Any]:
    """Write `report.json`, `report.md` and `report.tex`; the content of the first."""
    content = as_json(evaluation)
    for name, text in (
        ("report.md", markdown(evaluation)),
        ("report.tex", latex(evaluation)),
        ("report.json", json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"),
    ):
        with replace_file(place / name) as file:
            file.write(text.encode())
    return content


def markdown(evaluation: Evaluation) -> str:
    """All tables as Markdown."""
    names = [escape(editor.editor) for editor in evaluation.editors]
    found = [tables(evaluation, number) for number in range(len(names))]
    benchmark = evaluation.benchmark
    parts = [
        f"# {escape(benchmark.name)}\n\n{len(evaluation.items)} samples, digest `{benchmark.digest}`. "
        f"Means with {100 * CONFIDENCE:.0f} % intervals ({RESAMPLES} resamples of scenes). Failures count as the worst "
        "score; in parentheses: left out.\n"
    ]
    for dimension, groups in found[0].items():
        for label in groups:
            cells = [each[dimension][label] for each in found]
            title = "All samples" if dimension == "all" else f"{dimension.capitalize()}: {escape(label)}"
            lines = [_markdown_row(metric, row) for metric, row in rows(cells)]
            parts.append(f"## {title}\n\n" + table(["metric", "keys", "copy", *names, "oracle"], lines))
    missing = "".join(f"- {name}: {reason}\n" for name, reason in absent(evaluation).items())
    failed = "".join(
        f"- {name}: {_counts(failures(evaluation.items, number)) or 'none'}\n" for number, name in enumerate(names)
    )
    return "\n".join([*parts, "## Failures\n\n" + failed, "## Absent metrics\n\n" + missing])


def _counts(found: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in found.items())


def _markdown_row(metric: Metric, cells: Sequence[Cell]) -> list[object]:
    arrow = "↑" if metric.better == "higher" else "↓"
    shown = [_markdown_cell(metric, cell) for cell in cells]
    ends = [number(metric, value) for value in (cells[0].copy, cells[0].oracle)]
    unit = f" ({metric.unit})" if metric.unit else ""
    return [f"{metric.name}{unit} {arrow}", cells[0].keys, ends[0], *shown, ends[1]]


def _markdown_cell(metric: Metric, cell: Cell) -> str:
    mean = cell.worst
    text = f"{number(metric, mean.mean)} [{number(metric, mean.low)}, {number(metric, mean.high)}]"
    if cell.failures:
        text += f" ({number(metric, cell.without.mean) if cell.without else 'no value'}, {cell.failures} failed)"
    return text


def latex(evaluation: Evaluation) -> str:
    """The table of all samples, for package booktabs."""
    names = [_tex(editor.editor) for editor in evaluation.editors]
    cells = [tables(evaluation, number)["all"]["all"] for number in range(len(names))]
    lines = [
        rf"% {evaluation.benchmark.name}, digest {evaluation.benchmark.digest}",
        rf"\begin{{tabular}}{{l{'r' * (2 + len(names))}}}",
        r"\toprule",
        " & ".join(["Metric", "Copy", *names, "Oracle"]) + r" \\",
        r"\midrule",
    ]
    for metric, row in rows(cells):
        arrow = r"$\uparrow$" if metric.better == "higher" else r"$\downarrow$"
        shown = [
            f"{number(metric, cell.worst.mean)} {{\\scriptsize [{number(metric, cell.worst.low)}, "
            f"{number(metric, cell.worst.high)}]}}"
            for cell in row
        ]
        ends = [number(metric, value) for value in (row[0].copy, row[0].oracle)]
        lines.append(" & ".join([f"{_tex(metric.name)} {arrow}", ends[0], *shown, ends[1]]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _tex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(one, f"\\{one}" if one in "&%$#_{}" else one) for one in " ".join(text.split()))


class Pictures:
    """Collects the pictures of the page while keys are judged, and keeps those of the worst.

    Those of an earlier report in the same place are removed.
    """

    def __init__(self, place: Path) -> None:
        self._media = place / "media"
        shutil.rmtree(self._media, ignore_errors=True)
        self._kept: list[tuple[float, str]] = []

    def add(self, truth: Truth, item: Item, images: Images) -> None:
        """Write the pictures of a key; remove those of the best one if there are too many."""
        folder = self._media / item.key
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "source.jpg", truth.source)
        _write(folder / "target.jpg", truth.target)
        for index, image in enumerate(images):
            if image is not None:
                _write(folder / f"prediction-{index}.jpg", image)
                strong = np.minimum(cv2.absdiff(image, truth.target).astype(np.uint16) * _GAIN, 255)
                _write(folder / f"difference-{index}.jpg", strong.astype(np.uint8))
        self._kept.append((standing(item, 0), item.key))
        if len(self._kept) > MAX_SHOWN:
            self._kept.sort()
            _, key = self._kept.pop()
            shutil.rmtree(self._media / key)

    def keys(self) -> list[str]:
        """The keys with pictures, worst first."""
        return [key for _, key in sorted(self._kept)]


def _write(path: Path, image: U8) -> None:
    path.write_bytes(encode_image(np.ascontiguousarray(image), "jpg"))


def write_page(evaluation: Evaluation, keys: Sequence[str], place: Path) -> None:
    """Write `index.html`: the keys with pictures, in this order."""
    items = {item.key: item for item in evaluation.items}
    names = [html.escape(editor.editor) for editor in evaluation.editors]
    cards = "".join(_card(items[key], names) for key in keys)
    title = html.escape(f"{evaluation.benchmark.name}: {', '.join(editor.editor for editor in evaluation.editors)}")
    head = f"<p>{len(keys)} of {len(items)} samples, worst first. Green: the exact box. Red: found. Differences are "
    head += f"{_GAIN} times as strong. The numbers are defined in docs/evaluation.md.</p>"
    text = f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{_STYLE}</style>"
    with replace_file(place / "index.html") as file:
        file.write(f"{text}<h1>{title}</h1>{head}{cards}</html>\n".encode())


def _card(item: Item, names: Sequence[str]) -> str:
    folder = f"media/{item.key}"
    size = item.size
    pictures = [
        _picture(f"{folder}/source.jpg", "source", size, ()),
        _picture(f"{folder}/target.jpg", "target", size, item.boxes),
    ]
    for index, (judged, name) in enumerate(zip(item.editors, names, strict=True)):
        if judged.failure:
            pictures.append(f"<figure><div class=none>{html.escape(judged.detail)}</div>{name}</figure>")
            continue
        found = _picture(f"{folder}/prediction-{index}.jpg", name, size, item.boxes, judged.boxes)
        pictures += [found, _picture(f"{folder}/difference-{index}.jpg", "difference", size, ())]
    groups = html.escape(", ".join(f"{name} {label}" for name, label in item.groups.items()))
    return (
        f"<section id={item.key}><h2>{item.key} <small>{groups}</small></h2><p>{html.escape(item.instruction)}</p>"
        f"<div class=row>{''.join(pictures)}</div>{_numbers(item, names)}</section>"
    )


def _picture(path: str, caption: str, size: tuple[int, int], exact: Sequence[Box], found: Sequence[Box] = ()) -> str:
    """An image with boxes, which are drawn in its own pixels."""
    boxes = "".join(
        f"<rect class={name} x={x0:.1f} y={y0:.1f} width={max(x1 - x0, 0):.1f} height={max(y1 - y0, 0):.1f} />"
        for name, several in (("exact", exact), ("found", found))
        for x0, y0, x1, y1 in several
    )
    over = f'<svg viewBox="0 0 {size[0]} {size[1]}">{boxes}</svg>' if boxes else ""
    return f"<figure><div class=picture><img src={path} loading=lazy>{over}</div>{caption}</figure>"


def _numbers(item: Item, names: Sequence[str]) -> str:
    head = "".join(f"<th>{name}" for name in ("metric", "copy", *names, "oracle"))
    lines = ""
    for name, best in item.oracle.items():
        metric = METRICS[name]
        values = [item.copy[name], *(judged.values[name] for judged in item.editors), best]
        cells = "".join(f"<td>{'failed' if value is None else number(metric, value)}" for value in values)
        lines += f"<tr><td>{name} {'↑' if metric.better == 'higher' else '↓'}{cells}"
    return f"<details><summary>numbers</summary><table><tr>{head}{lines}</table></details>"


_STYLE: Final = (
    "body{font:14px system-ui;margin:24px;background:#fafafa;color:#222}h2{font-size:15px;margin:24px 0 4px}"
    "small{color:#777;font-weight:400}.row{display:flex;gap:8px;flex-wrap:wrap}figure{margin:0;color:#555}"
    ".picture{position:relative;width:256px}.picture img{width:100%;display:block}"
    ".picture svg{position:absolute;inset:0;width:100%;height:100%}rect{fill:none;stroke-width:1%}"
    ".exact{stroke:#1a9c4a}.found{stroke:#d33}.none{width:256px;height:256px;background:#eee;padding:8px;"
    "box-sizing:border-box;color:#a00}td,th{padding:1px 10px;text-align:right}td:first-child{text-align:left}"
)
