"""What README and docs tell a reader to type exists, and what they link to is there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from spatialdata_builder.pipeline.cli import cli
from spatialdata_builder.shards.recipes import RECIPES

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def commands() -> Iterator[tuple[Path, str]]:
    """Lines of `spatialdata` in code blocks, without the prose beside them."""
    for page in PAGES:
        for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text(), re.S | re.M):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("spatialdata ") and "..." not in line:
                    yield page, re.split(r"\s{2,}|\s#", line)[0]


def parsed(group: click.Command, words: list[str]) -> None:
    """Raises what click raises for a word that the command does not know; runs nothing."""
    if isinstance(group, click.Group):
        context = click.Context(group)
        command = group.get_command(context, words[0])
        assert command is not None, words[0]
        return parsed(command, words[1:])
    group.make_context("spatialdata", list(words))
    return None


@pytest.mark.parametrize(("page", "line"), [pytest.param(*found, id=found[1]) for found in commands()])
def test_commands_are_known(page: Path, line: str):
    # Brackets stand around what may be left out.
    parsed(cli, shlex.split(line.replace("[", "").replace("]", ""))[1:])


def test_every_recipe_is_named_where_one_is_chosen():
    shard = cli.get_command(click.Context(cli), "shard")
    assert shard is not None
    texts = {"--help": shard.get_help(click.Context(shard)), "README.md": (ROOT / "README.md").read_text()}
    for place, text in texts.items():
        assert not [name for name in RECIPES if name not in text], place


def anchors(page: Path) -> set[str]:
    """As web hosts of Markdown make them from headings."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path) if path else page
        assert other.exists(), target
        assert not anchor or anchor in anchors(other), target


@pytest.mark.parametrize(
    ("section", "file"), [("A recipe", "shards/recipes.py"), ("An export", "shards/interop/spatialedit.py")]
)
def test_extending_shows_lines_of_the_code(section: str, file: str):
    text = (ROOT / "docs/extending.md").read_text()
    (block,) = re.findall(rf"^## {section}\n[^#]*?^```python\n(.*?)^```", text, re.S | re.M)
    shown = [re.sub(r"  # .*| *\.\.\.  +# .*", "", line).rstrip() for line in block.splitlines()]
    code = iter((ROOT / file).read_text().splitlines())
    for line in filter(None, (line.strip().rstrip(",") for line in shown)):
        assert any(line == other.strip().rstrip(",") for other in code), f"{line} is missing, or not in this order"
    assert len(shown) > 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_files_exist(page: Path):
    for name in re.findall(
        r"(?<![\w/])((?:pipeline|sources|annotators|shards|training|benchmarks|examples|tests)/[\w/]+\.(?:py|yaml))",
        page.read_text(),
    ):
        assert (ROOT / name).exists(), name
