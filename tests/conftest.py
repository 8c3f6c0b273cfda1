"""Shared fixtures, and the markers of tests (tests/needs). Nothing here needs a network, a GPU or weights."""

import re
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.needs import NEEDS, ROOT, Log, loads_torch

LOG = Log()
USED: dict[tuple[Any, int], dict[str, str]] = {}
"""Of each fixture, by the number of its parameter: what it used when it was set up."""
OPEN: list[dict[str, str]] = []
"""What the test that runs used, then the fixtures that are being set up, the innermost last."""


@pytest.fixture(scope="session")
def shared_assets() -> Path:
    """Real models and released-layout pairs, beside the checkout; absent on most machines."""
    root = Path(__file__).resolve().parents[2] / "shared" / "assets"
    if not root.is_dir():
        pytest.skip("no ../shared/assets beside the checkout: trials on real models are skipped")
    return root


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help=f"only tests without these markers: slow, {', '.join(NEEDS)}")


def pytest_configure(config: pytest.Config) -> None:
    for name, meaning in {**NEEDS, "slow": "takes seconds even without these"}.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


def pytest_unconfigure() -> None:
    LOG.remove()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where tests of torch are left out, torch is not imported to collect them."""
    path = collection_path / "conftest.py" if collection_path.is_dir() else collection_path
    return True if config.option.quick and path.is_file() and path.suffix == ".py" and loads_torch(path) else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """In parallel, tests of a module share a process and its fixtures; modules that start Ray share one process.

    Some of their tests look for sessions and processes of Ray on this machine.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByModule(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            module = nodeid.partition("::")[0]
            return "ray" if starts_ray(ROOT / module) else module

    return ByModule(config, log)


@cache
def starts_ray(module: Path) -> bool:
    return re.search(r'mark\.ray\b|@needs\(.*"ray"', module.read_text()) is not None


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    LOG.read()
    report = yield
    if isinstance(collector, pytest.Module) and not loads_torch(collector.path) and (how := LOG.read().get("torch")):
        report.outcome = "failed"
        report.longrepr = f"collecting {collector.nodeid} loads torch ({how}): see LOAD_TORCH in tests/needs"
    return report


def pytest_itemcollected(item: pytest.Item) -> None:
    if is_torch(item.path):
        item.add_marker("torch")
    for fixture in fixtures_of(item):
        for name in getattr(fixture.func, "needs", ()):
            item.add_marker(name)


@cache
def is_torch(module: Path) -> bool:
    """Whether a module of tests, or a conftest.py above it, loads torch."""
    folders = (folder for folder in module.parents if folder.is_relative_to(ROOT / "tests"))
    files = [module, *(folder / "conftest.py" for folder in folders)]
    return any(loads_torch(path) for path in files if path.is_file())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.quick:
        left_out = {item for item in items if markers_of(item) or item.get_closest_marker("slow")}
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None]:
    LOG.read()  # what ended late of a test before
    OPEN[:] = [{}]
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any, request: Any) -> Generator[None, object, object]:
    OPEN[-1].update(LOG.read())
    USED[fixturedef, request.param_index] = used = {}
    OPEN.append(used)
    try:
        return (yield)
    finally:
        OPEN.pop().update(LOG.read())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    yield
    used = OPEN[0] | LOG.read()
    indices = item.callspec.indices if hasattr(item, "callspec") else {}
    for fixture in fixtures_of(item):
        used |= USED.get((fixture, indices.get(fixture.argname, 0)), {})
    for name in sorted(set(used) - markers_of(item)):
        pytest.fail(
            f"this test {NEEDS[name]} ({used[name]}): mark it @pytest.mark.{name}, or the fixture that does it "
            f'@needs("{name}")',
            pytrace=False,
        )


def markers_of(item: pytest.Item) -> set[str]:
    return NEEDS.keys() & {mark.name for mark in item.iter_markers()}


def fixtures_of(item: pytest.Item) -> Iterator[Any]:
    """Definitions of the fixtures that a test asks for, and of those that they ask for in turn."""
    for definitions in item._fixtureinfo.name2fixturedefs.values():  # type: ignore[attr-defined]
        yield from definitions[-1:]
