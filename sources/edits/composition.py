"""The edit between the targets of two edits of one scene: second after first undone.

Invariant: both edits are of the same objects (or of the camera), so in the world of the two targets nothing else
differs, and the numbers are the differences and ratios of theirs.
"""

from dataclasses import replace

from ..scenes.naming import name_objects
from ..scenes.spec import EditSpec, SceneSpec, State
from .registry import RULES, composed_kind


def composed(first: SceneSpec, second: SceneSpec) -> SceneSpec:
    """The scene with the edit from the target of `first` to that of `second`; the names are those of `first`.

    Raises ValueError where no one edit leads there.
    """
    one, two = first.edit, second.edit
    kind = composed_kind(one.kind, two.kind)
    if kind is None or one.edited != two.edited or first.objects != second.objects:
        raise ValueError(f"no one edit leads from the target of a {one.kind} to that of a {two.kind}")
    source, target = _states(first.target, second.target, one.edited)
    edit = EditSpec(kind, one.object, allows_occlusion=two.allows_occlusion, second_object=one.second_object)
    spec = replace(first, source=source, target=target, edit=edit)
    return replace(spec, edit=RULES[kind].between(spec, one, two))


def named(spec: SceneSpec) -> SceneSpec | str:
    """With the names that fit the image that is the source, or why there are none."""
    names = name_objects(replace(spec, names={}))
    return names if isinstance(names, str) else replace(spec, names=names)


def alike(spec: SceneSpec) -> bool:
    """Whether the edit of a composed scene leads to what looks or is said the same."""
    return RULES[spec.edit.kind].looks_same(spec)


def _states(source: State, target: State, edited: tuple[int, ...]) -> tuple[State, State]:
    """An object that is in one of the states alone has the same place in the other, as with every such edit."""
    for identity in edited:
        before, after = source.placements[identity], target.placements[identity]
        if not before.present:
            source = replace(source, placements=source.placements | {identity: replace(after, present=False)})
        if not after.present:
            target = replace(target, placements=target.placements | {identity: replace(before, present=False)})
    return source, target
