"""Parts of regular expressions that the words of several kinds use."""

from typing import Final

GOES_ON: Final = r"(?= (?:its|their|to|by|so|until|around|away|towards|clockwise|counterclockwise|the|\d|left|right)\b)"
"""After a word that may be a noun as well (`a turn`): what follows a verb only."""
WORD_ENDS: Final = r"(?![\w'-])"
