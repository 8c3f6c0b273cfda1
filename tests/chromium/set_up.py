"""See to a Chromium on PATH, in which the gallery's pages are tested: python tests/chromium/set_up.py.

Debian's is installed where we may. One line says why there is none; the tests that need it are skipped then.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.chromium import find_chromium

INSTALL = (["apt-get", "update", "-qq"], ["apt-get", "install", "-qq", "--yes", "--no-install-recommends", "chromium"])


def main() -> str:
    """What is missing; empty where Chromium is there."""
    if find_chromium():
        return ""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return "no Chromium on PATH, and no right to install it (apt-get as root)"
    for command in INSTALL:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"{' '.join(command)}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}"
    return "" if find_chromium() else "chromium was installed and is not on PATH"


if __name__ == "__main__":
    if problem := main():
        sys.exit(f"{problem}: the gallery's pages will not be tested")
