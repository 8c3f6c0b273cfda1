"""The `spatialdata` command. Imports what a command needs when it runs, so that `--help` is instant.

Exit codes: 0 done, 1 failed, 2 bad input, 130 stopped by Ctrl-C. Errors are one line; `--debug` adds the traceback.
"""

# First: the imports below take a tenth of a second, in which Ctrl-C may come.
from .start import STOPPED, STOPPED_TEXT, end_if_command, work_is_done  # isort: split

import io
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import click

from ..shards.errors import BadInput, SpatialdataError, Stopped
from ..shards.extras import missing_package
from ..shards.redact import redact_texts
from .commands.text import (
    print_build,
    print_counts,
    print_doctor,
    print_export,
    print_gallery,
    print_rebuild,
    print_shards,
    print_verify,
)
from .interrupts import error_line, interruptible
from .terminal import prepare, say, stdout_is_lost

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


class _Group(click.Group):
    """Lists commands in the order of first use. `train` belongs to `training` and is imported only when asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.commands, "train"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "train":
            from ..training.cli import train

            return train
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(package_name="spatialdata-builder", prog_name="spatialdata")
def cli(debug: bool) -> None:
    """Build verified (source, instruction, target) triplets for spatial image editing."""


@cli.command()
@click.option("--config", "-c", type=click.Path(), help="YAML file; default: the default configuration (procedural).")
@click.option("--out", "-o", required=True, help="Output folder, or any fsspec URL.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override one key; may be repeated.")
@click.option(
    "--retry", default="", metavar="REASON,...", help="Recompute samples that were rejected for these reasons."
)
@json_option
def build(config: str | None, out: str, overrides: Sequence[str], retry: str, as_json: bool) -> None:
    """Build a dataset: plan, layers and shards. Rerun the command to resume."""
    from .commands.build import run_build
    from .config import load_config

    summary = run_build(load_config(config, overrides), out, quiet=as_json, retry=_words(retry))
    _report(summary, as_json, print_build)


@cli.command()
@click.argument("out")
@click.option("--recipe", "-r", required=True, help="full, spatialdiff, ildm, spatialedit or spatialfusion.")
@click.option(
    "--licenses", default="", metavar="NAME,...", help="Pack only samples whose visible assets have these licenses."
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of `shard` or `engine`.")
@json_option
def shard(out: str, recipe: str, licenses: str, overrides: Sequence[str], as_json: bool) -> None:
    """Pack the accepted samples of OUT into WebDataset shards for one trainer."""
    from .commands.build import run_shard

    if names := _words(licenses):
        overrides = [*overrides, f"shard.licenses={json.dumps(names)}"]
    _report(run_shard(out, recipe, overrides, quiet=as_json), as_json, print_shards)


@cli.command()
@click.argument("out")
@click.option("--watch", "-w", is_flag=True, help="Refresh every few seconds until the build finishes.")
@json_option
def status(out: str, watch: bool, as_json: bool) -> None:
    """Show the progress of OUT: samples per stage, rejects by reason, shards."""
    from .report.status.status import print_status, status_of

    if watch:
        from .report.status.watch import watch as watch_build

        try:
            watch_build(out, as_json=as_json)
        except KeyboardInterrupt:
            raise SystemExit(STOPPED) from None
        return
    found = status_of(out)
    _report(found, as_json, print_status)


@cli.command()
@click.argument("out")
@click.argument("key")
@json_option
def why(out: str, key: str, as_json: bool) -> None:
    """Show everything about one sample: plan, assets, layers, checks, shards, and how to rebuild it."""
    from .report.why.text import print_why
    from .report.why.why import why_of

    _report(why_of(out, key), as_json, print_why)


@cli.command()
@click.argument("out")
@click.argument("key")
@json_option
def rebuild(out: str, key: str, as_json: bool) -> None:
    """Recompute all layers of one sample, with the other samples of its unit, in this process."""
    from .commands.rebuild import run_rebuild

    _report(run_rebuild(out, key), as_json, print_rebuild)


@cli.command()
@click.argument("path")
@click.option("--repair", is_flag=True, help="Rebuild damaged shards and layers from the undamaged ones.")
@json_option
def verify(path: str, repair: bool, as_json: bool) -> None:
    """Check shards (OUT or a folder of shards) for damage, down to the sample. Exit code 1 if any is found."""
    from .commands.verify import run_verify

    found = run_verify(path, repair=repair, quiet=as_json)
    _report(found, as_json, print_verify)
    if not found["ok"]:
        raise SystemExit(1)


@cli.command()
@click.argument("path")
@click.option("--out", "-o", default="", help="Folder to write; default: gallery/ in OUT, or beside the shards.")
@click.option("--recipe", "-r", default="", help="Show the shards of this recipe instead of the layers of OUT.")
@click.option(
    "--limit", type=click.IntRange(1), help="Samples to show, spread evenly; default: 10000, or 24 in a sheet."
)
@click.option("--sheet", default="", metavar="FILE.png", help="Draw the shards as one image instead.")
@click.option(
    "--tile",
    type=click.IntRange(16, 1024),
    default=176,
    show_default=True,
    help="Side of an image in the sheet, in pixels.",
)
@json_option
def view(path: str, out: str, recipe: str, limit: int | None, sheet: str, tile: int, as_json: bool) -> None:
    """Write a gallery of OUT or of shards: plain files to open in a browser. Works while a build runs."""
    from .commands.view import LIMIT, SHEET_LIMIT, run_gallery, run_sheet

    if sheet:
        found = run_sheet(path, sheet, recipe=recipe, limit=limit or SHEET_LIMIT, tile=tile)
        _report(found, as_json, lambda found: say(f"{found['samples']} samples drawn: {found['picture']}"))
        return
    _report(run_gallery(path, out, recipe=recipe, limit=limit or LIMIT, quiet=as_json), as_json, print_gallery)


@cli.command()
@click.argument("out")
@click.option("--recipe", "-r", default="", help="Recipe to describe; default: every packed recipe.")
@json_option
def card(out: str, recipe: str, as_json: bool) -> None:
    """Write README.md (dataset card) and ATTRIBUTION.md (creators and licenses) beside the shards of OUT."""
    from .report.card.card import print_card, run_card

    _report(run_card(out, recipe), as_json, print_card)


@cli.command()
@click.argument("first")
@click.argument("second")
@json_option
def diff(first: str, second: str, as_json: bool) -> None:
    """Compare two builds: configuration, plan, layers, verdicts with reasons, scores."""
    from .report.diff.diff import run_diff
    from .report.diff.text import print_diff

    _report(run_diff(first, second), as_json, print_diff)


@cli.command()
@click.argument("out")
@click.option("--pictures", default="", help="Folder for sheets of the worst maps, one per layer.")
@click.option("--worst", type=click.IntRange(1, 200), default=12, show_default=True, help="Maps per sheet.")
@click.option("--limit", type=click.IntRange(0), default=0, help="Samples to compare, spread over the plan; 0: all.")
@json_option
def audit(out: str, pictures: str, worst: int, limit: int, as_json: bool) -> None:
    """Compare estimated maps with the renderer's exact maps: a table, OUT/audit/audit.csv, and images."""
    from .report.audit.audit import print_audit, run_audit

    found = run_audit(out, pictures=pictures, worst=worst, limit=limit, quiet=as_json)
    _report(found, as_json, print_audit)


@cli.command()
@click.argument("url")
@click.option("--recipe", "-r", default="full", show_default=True, help="Recipe whose members are read.")
@click.option("--split", default="train", show_default=True, help="Split to read, if URL is a folder above the splits.")
@click.option("--batch", type=click.IntRange(1), default=8, show_default=True)
@click.option("--benchmark", is_flag=True, help="Measure the speed, where the time goes, and what to change.")
@click.option(
    "--seconds", type=click.FloatRange(0.1), default=10.0, show_default=True, help="Duration of the benchmark."
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="Option of `stream`, such as threads=8; may be repeated.",
)
@json_option
def stream(
    url: str,
    recipe: str,
    split: str,
    batch: int,
    benchmark: bool,
    seconds: float,
    options: Sequence[str],
    as_json: bool,
) -> None:
    """Read shards as a training job does: show the content of a batch or, with --benchmark, the speed."""
    from .report.streaming import print_stream, run_stream

    found = run_stream(url, recipe, split=split, size=batch, seconds=seconds if benchmark else 0.0, options=options)
    _report(found, as_json, print_stream)


@cli.command()
@click.option(
    "--config", "-c", type=click.Path(), help="YAML file; its keys source, orient, render and engine are used."
)
@click.option("--out", "-o", required=True, help="Folder for portraits and answers; can be the OUT of a build.")
@click.option(
    "--to", default="", help="Orientation file to write; default: orientations.json in the source, else in OUT."
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override one key of the configuration.")
@json_option
def orient(config: str | None, out: str, to: str, overrides: Sequence[str], as_json: bool) -> None:
    """Ask a vision-language model which way each asset faces and what it is called, from eight rendered views."""
    from .commands.orient import run_orient
    from .config import load_config

    found = run_orient(load_config(config, overrides), out, to=to, quiet=as_json)
    _report(found, as_json, print_counts)


@cli.command()
@click.option(
    "--config", "-c", type=click.Path(), help="YAML file of the planned run; default: the default configuration."
)
@click.option("--measured", "-m", required=True, help="OUT of a small run, or a file that --save wrote.")
@click.option(
    "--samples", "-n", type=click.IntRange(1), help="Samples to plan for; default: those of the configuration."
)
@click.option("--nodes", type=click.IntRange(1), default=1, show_default=True, help="Machines in the cluster.")
@click.option("--cpus", type=click.FloatRange(1), help="Cores per machine; default: those of this machine.")
@click.option("--gpus", type=click.FloatRange(0), help="GPUs per machine; default: those of this machine.")
@click.option("--save", default="", help="File to save the measured rates to, for plans without that OUT.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override one key; may be repeated.")
@json_option
def plan(
    config: str | None,
    measured: str,
    samples: int | None,
    nodes: int,
    cpus: float | None,
    gpus: float | None,
    save: str,
    overrides: Sequence[str],
    as_json: bool,
) -> None:
    """Estimate the cost of a run (time, GPU-hours, storage) and its workers, from the rates of a small run."""
    from .config import load_config
    from .report.forecast.forecast import run_forecast
    from .report.forecast.text import print_forecast

    found = run_forecast(load_config(config, overrides), measured, samples, nodes, cpus, gpus, save)
    _report(found, as_json, print_forecast)


@cli.command()
@click.argument("path")
@click.option(
    "--layout", required=True, type=click.Choice(["spatialedit", "spatialedit-bench", "object3dit", "angles"])
)
@click.option("--out", "-o", required=True, help="Folder to write.")
@click.option(
    "--vocabulary",
    default="",
    type=click.Choice(["", "fal", "dx8152", "spatialedit"]),
    help="Of layout angles: whose words the captions have.",
)
@json_option
def export(path: str, layout: str, out: str, vocabulary: str, as_json: bool) -> None:
    """Write the shards of PATH (OUT, a folder of shards or a benchmark set) in another project's layout."""
    from .commands.export import run_export

    found = run_export(path, layout, out, vocabulary)
    _report(found, as_json, print_export)


@cli.command()
@click.argument("out")
@click.option("--name", required=True, help="Name of the set: a-z 0-9 -.")
@click.option(
    "--preset",
    type=click.Choice(["balanced", "spatialbench", "camera", "object-view"]),
    default="balanced",
    show_default=True,
    help="Which kinds of edits, and what is balanced.",
)
@click.option("--per-kind", type=click.IntRange(1), help="Samples of each kind; default: 50, 100, 100 or 80.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="test", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Decides between samples that fit equally well.")
@click.option("--with-targets", is_flag=True, help="Also write target.png and the target's box for each sample.")
@click.option("--out", "-o", "bench", required=True, help="Folder of the set.")
@json_option
def benchmark(
    out: str,
    name: str,
    preset: str,
    per_kind: int | None,
    split: Any,
    seed: int,
    with_targets: bool,
    bench: str,
    as_json: bool,
) -> None:
    """Choose a balanced set of samples from the shards of OUT, with frozen keys and hashes, to compare editors on."""
    from .commands.benchmark import print_benchmark, run_benchmark

    found = run_benchmark(
        out,
        bench,
        name=name,
        preset=preset,
        per_kind=per_kind or 0,
        split=split,
        seed=seed,
        with_targets=with_targets,
    )
    _report(found, as_json, print_benchmark)


@cli.command()
@click.argument("bench")
@click.option(
    "--with",
    "editor",
    required=True,
    metavar="EDITOR",
    help='Folder of a run; diffusers pipeline (hub id or folder); "COMMAND {input} {prompt} {output}"; '
    "openai:URL#model; copy; oracle; roundtrip:EDITOR.",
)
@click.option("--out", "-o", required=True, help="Folder of the predictions; rerun the command to resume.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Edits at once; models: one.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.1),
    default=600,
    show_default=True,
    metavar="SECONDS",
    help="Limit for one edit of a command or a server.",
)
@click.option("--retry", is_flag=True, help="Try again the samples that failed before.")
@json_option
def edit(
    bench: str, editor: str, out: str, seed: int, workers: int, timeout: float, retry: bool, as_json: bool
) -> None:
    """Run an editor on every sample of the benchmark set BENCH. Exit code 1 if any sample has no image."""
    from .commands.edit import print_edit, run_edit

    found = run_edit(bench, editor, out, seed=seed, workers=workers, timeout_s=timeout, retry=retry, quiet=as_json)
    _report(found, as_json, print_edit)
    if not found["complete"]:
        raise SystemExit(1)


@cli.command()
@click.argument("bench")
@click.argument("predictions")
@click.option("--against", default="", metavar="PRED", help="Predictions of a second editor, to compare.")
@click.option("--out", "-o", required=True, help="Folder of the report.")
@json_option
def evaluate(bench: str, predictions: str, against: str, out: str, as_json: bool) -> None:
    """Judge the PREDICTIONS of an editor for the benchmark set BENCH, beside copy and oracle: tables and a page."""
    from .commands.evaluate import print_evaluate, run_evaluate

    found = run_evaluate(bench, [predictions, *([against] if against else [])], out, quiet=as_json)
    _report(found, as_json, print_evaluate)


@cli.command()
@click.option("--out", default="", help="Output folder of a planned build; its disk is checked.")
@click.option("--blender", default="", help="Blender executable to check.")
@json_option
def doctor(out: str, blender: str, as_json: bool) -> None:
    """Check this machine (Blender, GPU, weights, disk), with a fix for each problem."""
    from dataclasses import asdict

    from .commands.doctor import examine

    findings = examine(out, blender)
    good = all(finding.state != "missing" for finding in findings)
    _report({"ok": good, "findings": [asdict(finding) for finding in findings]}, as_json, print_doctor)
    if not good:
        raise SystemExit(1)


@cli.command()
@click.option("--out", "-o", default="demo", show_default=True, help="Folder for the dataset and its picture.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override one key; may be repeated.")
@json_option
def demo(out: str, overrides: Sequence[str], as_json: bool) -> None:
    """Build, verify and show a small dataset; needs no data."""
    from .commands.demo import run_demo

    _report(run_demo(out, overrides, quiet=as_json), as_json, lambda _: None)


@cli.group()
def assets() -> None:
    """Generate models to build scenes from."""


@assets.command()
@click.option("--to", metavar="CACHE", default="", help="Folder of the models; rerun to resume.")
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Models per factory.")
@click.option("--first-seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the first of them.")
@click.option("--factories", default="", metavar="NAME,...", help="Kinds of objects; default: all of --list.")
@click.option("--list", "list_only", is_flag=True, help="Show the factories with category and size, and end.")
@click.option("--texture", type=click.IntRange(64, 4096), default=512, show_default=True, help="Side in pixels.")
@click.option("--max-triangles", type=click.IntRange(100), default=20000, show_default=True, help="Of a model.")
@click.option("--cpu-seconds", type=click.IntRange(1), default=180, show_default=True, help="Limit for a model.")
@click.option("--seconds", type=click.FloatRange(1), default=900, show_default=True, help="Limit for a model.")
@click.option(
    "--license",
    default="cc0",
    show_default=True,
    metavar="NAME",
    help="License under which you publish the models: Infinigen's own does not cover what it generates.",
)
@click.option("--jobs", "-j", type=click.IntRange(1), help="Processes; default: one for each core.")
@click.option("--retry-failed", is_flag=True, help="Try again the models that failed before.")
@json_option
def infinigen(
    to: str,
    seeds: int,
    first_seed: int,
    factories: str,
    list_only: bool,
    texture: int,
    max_triangles: int,
    cpu_seconds: int,
    seconds: float,
    license: str,
    jobs: int | None,
    retry_failed: bool,
    as_json: bool,
) -> None:
    """Generate furniture and household objects with Infinigen, for source.kind: models. Runs on CPU cores only."""
    from ..sources.infinigen.generate import Limits
    from .commands.assets import list_factories, print_factories, print_infinigen, run_infinigen

    if list_only:
        _report(list_factories(), as_json, print_factories)
        return
    if not to:
        raise click.UsageError("--to CACHE is missing: the folder of the models")
    found = run_infinigen(
        to,
        _words(factories),
        range(first_seed, first_seed + seeds),
        Limits(cpu_seconds, seconds, max_triangles, texture),
        license=license,
        jobs=jobs or len(os.sched_getaffinity(0)),
        retry_failed=retry_failed,
        quiet=as_json,
    )
    _report(found, as_json, print_infinigen)
    if not found["complete"]:
        raise SystemExit(1)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _report(found: dict[str, Any], as_json: bool, show: Callable[[dict[str, Any]], None]) -> None:
    found = redact_texts(found)
    if as_json:
        say(json.dumps(found, indent=1, sort_keys=True))
    else:
        show(found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; errors become one line on stderr and an exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    prepare()
    message, code = "", 0
    try:
        with interruptible():
            cli.main(args=given, prog_name="spatialdata", standalone_mode=False)
            sys.stdout.flush()
    except KeyboardInterrupt:
        message, code = STOPPED_TEXT, STOPPED
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        message, code = shown.getvalue(), error.exit_code
    except Exception as error:  # the last handler: a user reads this
        if "--debug" in given and not isinstance(error, Stopped | BrokenPipeError):
            say(traceback.format_exc(), err=True)
            sys.exit(1)
        message, code = _explain(error)
    work_is_done()
    if message:
        say(message.rstrip("\n"), err=True)
    end_if_command(code)
    if code:
        sys.exit(code)


def _explain(error: Exception) -> tuple[str, int]:
    """The error line and the exit code."""
    if isinstance(error, SpatialdataError):
        return error_line(error), error.exit_code
    if isinstance(error, ImportError) and (text := missing_package(error)):
        return f"error: {text}", BadInput.exit_code
    if isinstance(error, click.Abort) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # an EOFError, which click takes for the end of what a person types
    text, code = _put_into_words(error)
    return (f"error: {' '.join(text.split())[:600]} (`spatialdata --debug ...` shows where)" if text else ""), code


def _put_into_words(error: Exception) -> tuple[str, int]:
    """Message and exit code of an error that no inner code has explained."""
    from .store.storage import FULL, OBJECT_STORES, disk_full

    if type(error).__module__.partition(".")[0] in OBJECT_STORES:
        return f"the object store cannot be used ({error}): check the credentials, the endpoint and the bucket", 2
    if not isinstance(error, OSError):
        return f"internal error of spatialdata: {type(error).__name__}: {error}", 1
    if error.filename is None and stdout_is_lost():
        if isinstance(error, BrokenPipeError):  # `spatialdata ... | head` has seen enough
            return "", 1
        return f"cannot write the output to stdout ({error.strerror}): redirect it to another place", 1
    if error.errno in FULL:
        if error.filename is None:
            return f"{error.strerror}, in an unknown place: check OUT, TMPDIR and the home folder", 1
        return str(disk_full(str(error.filename), error)), 1
    wrong_path = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError)
    if isinstance(error, wrong_path) and error.filename:
        return f"cannot use {error.filename} ({error.strerror}): use another path, or fix its permissions", 2
    return f"{type(error).__name__}: {error}", 1


if __name__ == "__main__":
    main()
