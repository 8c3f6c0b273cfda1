"""The inverse of an edit of a rendered scene: from target to source.

Invariant: the inverse of an inverse is the edit itself. Names and views are computed again for the new source image.
"""

from dataclasses import replace

from ..scenes.naming import name_objects
from ..scenes.spec import SceneSpec
from .registry import RULES


def inverted(spec: SceneSpec) -> SceneSpec | str:
    """The scene with its edit inverted and its objects named again, or why they have no names."""
    edit = RULES[spec.edit.kind].inverted(spec)
    back = replace(spec, source=spec.target, target=spec.source, edit=edit)
    names = name_objects(back)
    return names if isinstance(names, str) else replace(back, names=names)
