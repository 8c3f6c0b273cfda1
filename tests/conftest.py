"""Shared fixtures. Nothing here needs a network, a GPU or weights."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_assets() -> Path:
    """Real models and released-layout pairs, beside the checkout; absent on most machines."""
    root = Path(__file__).resolve().parents[2] / "shared" / "assets"
    if not root.is_dir():
        pytest.skip("no ../shared/assets beside the checkout: trials on real models are skipped")
    return root
