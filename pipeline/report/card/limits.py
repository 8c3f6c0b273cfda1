"""Known limits of a dataset: what is unknown, not measured, or only estimated in its samples, with counts.

Invariant: a limit is stated only if samples have it. The only foreign texts are names of models, which are escaped.
"""

from collections.abc import Iterator
from typing import Final

from ....shards.markdown import code, escape
from ....shards.schema import EDIT_KINDS, SPLITS
from ....shards.sidecars.facts import PUBLIC_SPLIT
from ....sources.rendered.facts import ESTIMATOR
from ..census import Census

_JUDGED: Final = ("semantic_consistency", "perceptual_quality", "overall")
_FEW: Final = 100
"""With fewer samples in a held-out split, a difference between two models is mostly chance."""
_REPEATED: Final = 0.5
"""Below this ratio of different instructions to samples, repetition is stated as a limit."""


def known_limits(census: Census) -> list[str]:
    """Markdown sentences, the most important first."""
    return [*_images(census), *_text(census), *_scores(census), *_maps(census), *_balance(census)]


def _images(census: Census) -> Iterator[str]:
    yield "Every image is a render of 3D models, not a photograph: it lacks the noise and clutter of real pictures."
    samples = census.samples
    if count := census.unknown["camera"]:
        focal = "; the focal length is assumed" if census.focal["assumed"] else ""
        yield f"The camera is not known in {_of(count, samples)}: poses are zeros with `known: false`{focal}."
    if count := census.unknown["objects"]:
        yield (
            f"Sizes, poses and visible fractions of objects are not known in {_of(count, samples)}: zeros with "
            "`known: false`; boxes are exact."
        )
    for kind in EDIT_KINDS:
        if count := census.unknown_edits[kind]:
            all_of = sum(number for (_, other), number in census.edits.items() if other == kind)
            yield f"The numbers of the edit are not known in {_of(count, all_of)} of `{kind}`: only its boxes are."


def _text(census: Census) -> Iterator[str]:
    samples = census.samples
    if census.unverified:
        yield f"Geometry did not confirm the instruction of {_of(census.unverified, samples)} (`verified: false`)."
    templates = sum(number for (method, _), number in census.authors.items() if method == "template")
    if templates:
        yield (
            f"The instructions of {_of(templates, samples)} come from templates: correct for the pair, but not natural "
            "language."
        )
    if len(census.texts) < _REPEATED * samples:
        yield f"Instructions repeat: {len(census.texts)} different ones in {_counted(samples)}; `variants` has more."


def _scores(census: Census) -> Iterator[str]:
    missing = [name for name, values in census.scores.items() if not len(values)]
    if set(_JUDGED) <= set(missing):
        yield f"No person and no model judged the images: {', '.join(map(code, _JUDGED))} are -1 everywhere."
        missing = [name for name in missing if name not in _JUDGED]
    if missing:
        yield f"Measured in no sample (-1): {', '.join(map(code, missing))}."


def _maps(census: Census) -> Iterator[str]:
    by_maker: dict[str, list[str]] = {}
    for member, makers in census.maps.items():
        for estimator, _ in makers:
            by_maker.setdefault(estimator, []).append(member)
    for estimator, members in sorted(by_maker.items()):
        listed = ", ".join(map(code, sorted(members)))
        if estimator == "masks":
            yield f"Computed from instance masks only, without depth or normals: {listed}."
        elif estimator != ESTIMATOR:
            yield f"Estimated by {escape(estimator)}, not ground truth: {listed}."


def _balance(census: Census) -> Iterator[str]:
    for split in SPLITS:
        keys = census.keys.get(split)
        if not keys:
            yield f"There is no split `{PUBLIC_SPLIT[split]}`."
            continue
        if split != "train" and len(keys) < _FEW:
            yield f"`{PUBLIC_SPLIT[split]}` has {_counted(len(keys))}: too few to compare two models."
            continue
        planned = {kind for _, kind in census.edits}
        absent = [code(kind) for kind in EDIT_KINDS if kind in planned and not census.edits[split, kind]]
        if absent:
            yield f"`{PUBLIC_SPLIT[split]}` has no sample of {', '.join(absent)}."
    if nameless := census.categories[""]:
        yield f"The edited object has no category in {_of(nameless, census.samples)}."


def _counted(samples: int) -> str:
    return f"{samples} sample{'s' * (samples != 1)}"


def _of(count: int, samples: int) -> str:
    if count == samples:
        return f"all {_counted(samples)}"
    return f"{count} of {_counted(samples)} ({count / samples:.1%})"
