"""The edit between the targets of two edits of one scene.

Invariant: both edits change the same objects (or the camera), so the two targets differ in nothing else, and the
numbers of the composed edit are differences and ratios of theirs.
"""

from dataclasses import replace

from ..scenes.naming import name_objects
from ..scenes.spec import EditSpec, SceneSpec, State
from .registry import RULES, composed_kind


def composed(first: SceneSpec, second: SceneSpec) -> SceneSpec:
    """The scene with the edit from the target of `first` to that of `second`, and with the names of `first`.

    Raises ValueError if no single edit does this.
    """
    one, two = first.edit, second.edit
    kind = composed_kind(one.kind, two.kind)
    if kind is None or one.edited != two.edited or first.objects != second.objects:
        raise ValueError(f"no single edit leads from the target of a {one.kind} to that of a {two.kind}")
    source, target = _states(first.target, second.target, one.edited)
    edit = EditSpec(kind, one.object, allows_occlusion=two.allows_occlusion, second_object=one.second_object)
    spec = replace(first, source=source, target=target, edit=edit)
    return replace(spec, edit=RULES[kind].between(spec, one, two))


def named(spec: SceneSpec) -> SceneSpec | str:
    """The scene with names that fit its source image, or why there are none."""
    names = name_objects(replace(spec, names={}))
    return names if isinstance(names, str) else replace(spec, names=names)


def looks_same(spec: SceneSpec) -> bool:
    """Whether source and target of a composed scene look the same, or no instruction states the difference."""
    return RULES[spec.edit.kind].looks_same(spec)


def _states(source: State, target: State, edited: tuple[int, ...]) -> tuple[State, State]:
    """Give an object that is present in only one state the same placement in the other, as in every such edit."""
    for identity in edited:
        before, after = source.placements[identity], target.placements[identity]
        if not before.present:
            source = replace(source, placements=source.placements | {identity: replace(after, present=False)})
        if not after.present:
            target = replace(target, placements=target.placements | {identity: replace(before, present=False)})
    return source, target
