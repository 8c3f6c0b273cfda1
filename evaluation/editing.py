"""Run an editor on a benchmark set.

Invariant: an image that is stored is kept; a rerun edits only what is missing. The seed of a sample follows from the
run's seed and the key, so the images do not depend on the order, the number of threads or on stops.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Event

from ..shards.codecs import CodecError, decode_image
from ..shards.errors import BadInput, SpatialdataError
from .benchmarks import SOURCE, Benchmark
from .editors.editor import EditFailed, Editor, Task
from .predictions import Predictions, open_predictions


@dataclass(frozen=True)
class EditSummary:
    """What a run did, in samples."""

    samples: int
    edited: int
    """In this run."""
    kept: int
    """Had an image before."""
    skipped: int
    """Failed before, and were not tried again."""
    failed: int
    """In this run."""
    errors: dict[str, str]
    """Of all samples without an image that were tried, by key."""
    seconds: float

    @property
    def complete(self) -> bool:
        """Whether every sample has an image."""
        return self.edited + self.kept == self.samples


def run_editor(
    benchmark: Benchmark,
    editor: Editor,
    folder: str | Path,
    *,
    seed: int = 0,
    workers: int = 1,
    retry: bool = False,
    progress: Callable[[int, int, int], None] = lambda done, failed, total: None,
) -> EditSummary:
    """Edit the samples that have no image yet, and store image or error of each.

    Args:
        workers: threads; at most as many as the editor allows.
        retry: whether samples that failed in an earlier run are tried again.
        progress: called after each sample with the numbers of done, failed and all samples of this run.

    Raises:
        BadInput: the editor cannot be used, the set is damaged, or `folder` holds something else.
        EditorGone: the editor failed for good; images so far are kept, and a rerun resumes.
    """
    began = time.monotonic()
    predictions = open_predictions(folder, benchmark, editor=editor.description, seed=seed)
    waiting = [key for key in benchmark.keys if not predictions.has(key)]
    kept = len(benchmark.keys) - len(waiting)
    todo = [key for key in waiting if retry or key not in predictions.errors]
    edited = 0
    if todo:
        editor.setup()
        try:
            threads = max(1, min(workers, editor.most_workers))
            for done, ok in enumerate(_edit_all(benchmark, editor, predictions, todo, seed, threads), start=1):
                edited += ok
                progress(done, done - edited, len(todo))
        finally:
            predictions.tidy()
    return EditSummary(
        samples=len(benchmark.keys),
        edited=edited,
        kept=kept,
        skipped=len(waiting) - len(todo),
        failed=len(todo) - edited,
        errors=dict(predictions.errors),
        seconds=time.monotonic() - began,
    )


def seed_of(seed: int, key: str) -> int:
    """The seed of one sample, 0 to 2**31 - 1."""
    return int.from_bytes(hashlib.sha256(f"{seed} {key}".encode()).digest()[:4], "big") >> 1


def _edit_all(
    benchmark: Benchmark, editor: Editor, predictions: Predictions, keys: Sequence[str], seed: int, threads: int
) -> Iterator[bool]:
    """Whether each sample has an image now, as they end."""

    stopping = Event()

    def edit(key: str) -> bool:
        problem = _edit_one(benchmark, editor, predictions, key, seed)
        if problem and not stopping.is_set():  # an edit that the end of the run interrupts has not failed
            predictions.fail(key, problem)
        return not problem

    pool = ThreadPoolExecutor(threads, thread_name_prefix="edit")
    try:
        # Not all at once: an error of one must stop the others before they start.
        waiting = iter(keys)
        running: set[Future[bool]] = {pool.submit(edit, key) for key in islice(waiting, 2 * threads)}
        while running:
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(edit, key) for key in islice(waiting, len(ended))}
            for future in ended:
                yield future.result()
    except BaseException:
        stopping.set()
        editor.close()  # a command may run for minutes
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _edit_one(benchmark: Benchmark, editor: Editor, predictions: Predictions, key: str, seed: int) -> str:
    """Store the image of a sample. Returns why there is none; empty if there is one."""
    path = benchmark.item(key, SOURCE)
    record = benchmark.record(key)
    try:
        image = decode_image(path.read_bytes())
    except (OSError, CodecError) as error:
        raise BadInput(f"benchmark {benchmark.folder}, sample {key}: {SOURCE} cannot be read ({error})") from None
    try:
        found = editor.edit(Task(key, image, record.instruction.text, seed_of(seed, key), path, record))
    except EditFailed as error:
        return str(error)
    except SpatialdataError:  # the editor is gone, or the set is damaged
        raise
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    try:
        predictions.add(key, found)
    except CodecError as error:
        return f"the editor returned no image: {error}"
    return ""
