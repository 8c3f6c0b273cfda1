"""Names of models from the names of their files and folders: `SM_Chair_01` is a chair, `scene` is nothing.

Invariant: a name is one to three plain English words that can stand in a sentence; empty where there is none.
"""

import re
from typing import Final

from ..assets.sizes import TYPICAL_EXTENT

_MAX_WORDS: Final = 3
_SHORTEST: Final = 3
"""Letters of a word, unless it is a known noun such as `tv`."""
_CASES: Final = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_CODE: Final = re.compile(r"\d[A-Za-z]+\d")
"""Digits around letters, as in `0c0665cb`: a part of an identifier."""
_VOWEL: Final = re.compile("[aeiouy]")
_NOTHING: Final = frozenset(
    re.findall(
        "[a-z]+",
        "animated animation archive asset assets backup base blend blender brep cgtrader cleaned collada common copy "
        "default dl download downloads draft edited exp export exported exports fbx file files final finished format "
        "free gamedev gameready geo geometry glb gltf hd hi high highpoly hipoly import item items kit level lod "
        "lopoly low lowpoly main mat material materials maya mesh meshes model models new obj object objects original "
        "output pack pbr poly polygon polygonal prop props quad quads raw ready realtime render res resolution result "
        "rig rigged scan scanned scene scenes sci sculpt sk sketchfab sm source sources src static stl temp test "
        "texture textured textures thing things triangulated turbosquid uasset unity unnamed unreal untitled unwrapped "
        "usd usda usdc usdz uv uvs ver version vray",
    )
)
"""Words that say how a file was made, not what it shows."""


def name_of(text: str) -> str:
    """The name in the stem of a file, or in the name of a folder; empty if it says nothing.

    A known noun ends the name (`old office chair`), or is the name where other words follow it (`chair_wood`). Without
    a known noun, up to three words are a name.
    """
    words = _words(text)
    known = [
        (end, start)
        for end in range(len(words), 0, -1)
        for start in range(max(0, end - _MAX_WORDS), end)
        if " ".join(words[start:end]) in TYPICAL_EXTENT
    ]
    if not known:
        return " ".join(words) if len(words) <= _MAX_WORDS else ""
    end, start = known[0]
    return " ".join(words[max(0, end - _MAX_WORDS) : end] if end == len(words) else words[start:end])


def _words(text: str) -> list[str]:
    found: list[str] = []
    for part in re.split(r"[\s_.,;()\[\]{}+#&-]+", text):
        if _CODE.search(part):
            continue
        for word in _CASES.sub(" ", re.sub(r"\d+", " ", part)).split():
            plain = word.lower()
            if plain == "ready" and found[-1:] == ["game"]:  # a game is a noun, `game ready` says how it was made
                found.pop()
            odd = len(plain) < _SHORTEST or not _VOWEL.search(plain)
            if plain in _NOTHING or (odd and plain not in TYPICAL_EXTENT):
                continue
            if not (plain.isascii() and plain.isalpha()):
                return []  # another language, or no language
            found.append(plain)
    return found
