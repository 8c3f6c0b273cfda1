"""Regular expressions that the words of several kinds share."""

from typing import Final

AFTER_VERB: Final = (
    r"(?= (?:its|their|to|by|so|until|around|away|towards|clockwise|counterclockwise|the|\d|left|right)\b)"
)
"""What can follow a verb but not a noun, for words that are both (`turn`)."""
WORD_ENDS: Final = r"(?![\w'-])"
