"""Sketchfab, where the models of Objaverse come from."""

import re
from typing import Final

_UID: Final = re.compile(r"[0-9a-f]{32}")


def model_page(uid: str) -> str:
    """Address of a model's page; empty where the uid is not one of Sketchfab."""
    return f"https://sketchfab.com/3d-models/{uid}" if _UID.fullmatch(uid) else ""
