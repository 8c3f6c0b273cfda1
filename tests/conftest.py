"""Shared fixtures, and the markers of tests (tests/needs). Nothing here needs a network, a GPU or weights."""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.needs import NEEDS, ROOT, Log, loads_torch

LOG = Log()
USED: dict[Any, dict[str, str]] = {}
"""Of each fixture that was set up: what it used."""
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
    parser.addoption("--quick", action="store_true", help=f"only tests without these markers: {', '.join(NEEDS)}")


def pytest_configure(config: pytest.Config) -> None:
    for name, meaning in NEEDS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


def pytest_unconfigure() -> None:
    LOG.remove()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where tests of torch are left out, torch is not imported to collect them."""
    path = collection_path / "conftest.py" if collection_path.is_dir() else collection_path
    return True if config.option.quick and path.is_file() and path.suffix == ".py" and loads_torch(path) else None


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
    folders = (folder for folder in item.path.parents if folder.is_relative_to(ROOT / "tests"))
    files = [item.path, *(folder / "conftest.py" for folder in folders)]
    if any(loads_torch(path) for path in files if path.is_file()):
        item.add_marker("torch")
    for fixture in fixtures_of(item):
        for name in getattr(fixture.func, "needs", ()):
            item.add_marker(name)
    # In parallel, the tests of a module share a process and its fixtures; those of Ray take turns, since they look for
    # sessions and processes of Ray on this machine.
    item.add_marker(pytest.mark.xdist_group("ray" if "ray" in markers_of(item) else item.nodeid.partition("::")[0]))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.quick:
        config.hook.pytest_deselected(items=[item for item in items if markers_of(item)])
        items[:] = [item for item in items if not markers_of(item)]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None]:
    LOG.read()  # what ended late of a test before
    OPEN[:] = [{}]
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any) -> Generator[None, object, object]:
    OPEN[-1].update(LOG.read())
    OPEN.append(USED.setdefault(fixturedef, {}))
    try:
        return (yield)
    finally:
        OPEN.pop().update(LOG.read())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    yield
    used = OPEN[0] | LOG.read()
    for fixture in fixtures_of(item):
        used |= USED.get(fixture, {})
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
