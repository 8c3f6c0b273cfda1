"""Shared fixtures, and the markers of tests (tests/needs). Nothing here needs a network, a GPU or weights."""

import ast
import os
import re
from collections import Counter
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.needs import NEEDS, ROOT, Log, loads_torch

LOG = Log()
SECONDS = {"ray": 8.0, "blender": 3.0, "readers": 3.0, "torch": 1.0, "slow": 1.0}
"""About how long a test takes, by its marker, fixtures included."""
QUICK_S = 0.05
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
    # The usual limit of 0.2 s of wall time for an example depends on what else the machine does.
    settings.register_profile("tests", deadline=None)
    settings.load_profile("tests")
    for name, meaning in {**NEEDS, "slow": "takes seconds even without these"}.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")
    if hasattr(config, "workerinput"):
        # Processes share the cores, and a thread of torch or BLAS that waits for others keeps its core busy.
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_unconfigure() -> None:
    LOG.remove()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where tests of torch are left out, torch is not imported to collect them."""
    path = collection_path / "conftest.py" if collection_path.is_dir() else collection_path
    return True if config.option.quick and path.is_file() and path.suffix == ".py" and loads_torch(path) else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """In parallel, tests of a module share a process and its fixtures; tests that start Ray share one process.

    Some of these look for sessions and processes of Ray on this machine. They mostly wait, one after the other, so they
    start first: see `longest_first`.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByModule(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            module, *_, test = nodeid.partition("[")[0].split("::")
            return "ray" if test in ray_tests(ROOT / module) else module

    config.option.loadscopereorder = False  # it would begin with the modules of most tests
    return ByModule(config, log)


@cache
def ray_tests(module: Path) -> set[str]:
    """Names of the tests of a module that start Ray; all, if one of its fixtures does."""
    functions = [node for node in ast.walk(ast.parse(module.read_bytes())) if isinstance(node, ast.FunctionDef)]
    said = {node.name: " ".join(map(ast.unparse, node.decorator_list)) for node in functions}
    if any(re.search(r"needs\(.*'ray'", decorators) for decorators in said.values()):
        return set(said)
    return {name for name, decorators in said.items() if re.search(r"mark\.ray\b", decorators)}


def longest_first(items: list[pytest.Item]) -> list[pytest.Item]:
    """Tests of Ray, then other modules, the longest first: a long one that began last would keep one process busy."""
    seconds: Counter[Path] = Counter()
    for item in items:
        seconds[item.path] += max([QUICK_S, *(SECONDS.get(mark.name, 0.0) for mark in item.iter_markers())])
    return sorted(items, key=lambda item: (item.get_closest_marker("ray") is None, -seconds[item.path]))


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
    if hasattr(config, "workerinput"):
        items[:] = longest_first(items)


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
