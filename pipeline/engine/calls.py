"""Calls of a stage: which samples one call gets, a failing sample isolated, results checked.

Invariant: an exception of a stage rejects one sample (and its derived samples); SpatialdataError stops the run.
"""

import os
import traceback
from collections.abc import Iterator, Sequence, Set
from itertools import groupby
from typing import Any

from ...shards.errors import SpatialdataError
from ...shards.redact import redact
from ...shards.sample import Reject, Result, Row, Sample
from ...shards.stage import Stage, members_of
from ..store.families import family_of
from ..store.storage import FULL, disk_full

ERROR = "error"


def calls_of(stage: Stage, samples: Sequence[Sample], wanted: Set[str]) -> Iterator[tuple[list[Sample], bool]]:
    """The wanted samples of each call, and whether they are whole families: whether others would change the results.

    Args:
        samples: all of a unit.
    """
    size = max(1, stage.samples_per_call or stage.batch_size)
    parts = [(part, [sample for sample in part if sample.key in wanted]) for part in inseparable(stage, samples)]
    asked = [(part, chosen) for part, chosen in parts if chosen]
    for first in range(0, len(asked), size):
        batch = asked[first : first + size]
        yield (
            [sample for _, chosen in batch for sample in chosen],
            all(len(part) == len(chosen) for part, chosen in batch),
        )


def inseparable(stage: Stage, samples: Sequence[Sample]) -> list[list[Sample]]:
    """Groups of samples that one call must get together: families if the stage asks for them, else single samples."""
    if not stage.families:
        return [[sample] for sample in samples]
    return [list(family) for _, family in groupby(samples, lambda sample: family_of(sample.key, sample.spec))]


def call(stage: Stage, model: Any, samples: Sequence[Sample]) -> list[Result]:
    """Call the stage on a batch; after an exception, sample by sample, rejecting those that fail with a traceback."""
    try:
        results = list(stage(model, samples))
    except SpatialdataError:
        raise
    except Exception as error:  # a stage may raise anything
        if isinstance(error, OSError) and error.errno in FULL:
            raise disk_full(str(error.filename or os.environ.get("TMPDIR", "/tmp")), error) from error
        if len(parts := inseparable(stage, samples)) > 1:
            return [result for part in parts for result in call(stage, model, part)]
        return [Reject(ERROR, detail=last_lines(error, lines=12)) for _ in samples]
    _check_results(stage, samples, results)
    return results


def _check_results(stage: Stage, samples: Sequence[Sample], results: Sequence[object]) -> None:
    name = f"stage {type(stage).__name__} (layer '{stage.layer}')"
    rule = "a stage must return one Row or Reject for each sample, in order"
    if len(results) != len(samples):
        raise SpatialdataError(
            f"{name} returned {len(results)} results for {len(samples)} samples (from '{samples[0].key}'): {rule}"
        )
    for sample, result in zip(samples, results, strict=True):
        if not isinstance(result, Row | Reject):
            raise SpatialdataError(f"{name} returned a {type(result).__name__} for sample '{sample.key}': {rule}")
        if isinstance(result, Row):
            for column, kind in members_of(stage).items():
                if not isinstance(result.columns.get(column), kind):
                    raise SpatialdataError(
                        f"{name} returned no {kind.__name__} in column '{column}' for sample '{sample.key}': {rule}, "
                        "with the member of each image in its `views`"
                    )


def last_lines(error: BaseException, lines: int = 4) -> str:
    """The last lines of a traceback, with secrets removed."""
    text = redact("".join(traceback.format_exception(error))).strip().splitlines()
    return "\n".join(text[-lines:])[-2000:]
