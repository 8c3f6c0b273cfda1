"""The way back: an edit of a rendered scene read from target to source.

Invariant: the inverse of an inverse is the edit itself; names and views are made anew for the image that is now the
source.
"""

from dataclasses import replace

from ..scenes.naming import name_objects
from ..scenes.spec import SceneSpec
from .registry import RULES


def inverted(spec: SceneSpec) -> SceneSpec | str:
    """The scene with its edit read backwards and its objects named anew, or why there is no such instruction."""
    edit = RULES[spec.edit.kind].inverted(spec)
    back = replace(spec, source=spec.target, target=spec.source, edit=edit)
    names = name_objects(back)
    return names if isinstance(names, str) else replace(back, names=names)
