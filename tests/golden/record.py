"""Records what the golden builds give now: `python -m tests.golden.record [FOLDER]`, from the root of a checkout.

Recording anew is legitimate only where a change of what users get is intended and announced in the changelog: a stage
with a higher `version`, another default, an intended change of pixels, plans or texts, or another pinned package. Then
record in the commit that makes that change, and say in its message what changed and why. It is never legitimate to
make a refactoring pass. A failure on a new processor is no reason either: rendered bytes are compared strictly on the
kind of processor that they were recorded on only.

`old_out.tar.gz` is an OUT of an earlier version, which later versions must resume, and `release.tar.gz` the pairs that
it was made from. Both are made only where they do not exist: keep them when you record anew. Only where the layers or
the plan of that build were changed on purpose is `old_out.tar.gz` removed and made anew.

To compare strictly on another processor, record there what an earlier commit gives, into a folder, and name the folder:

    git switch --detach EARLIER && python -m tests.golden.record /tmp/golden && git switch -
    GOLDEN=/tmp/golden pytest tests/test_golden.py

Every build runs twice; recording stops where the two differ.
"""

import gzip
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.golden import doors
from tests.golden.inputs import (
    BUILDS,
    CONFIGURATIONS,
    KINDS,
    OLD_BUILD,
    OLD_OUT,
    ORIENT,
    RELEASE,
    TWOS,
    run_build,
    tar_of,
    write_inputs,
)
from tests.golden.reading import PRODUCT, installed, observe, processor
from tests.pipeline.releases import write_release

FOLDER = Path(__file__).parent


def record(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as temporary:
        work = Path(temporary)
        if not RELEASE.exists():
            pack(write_release(work / "release", 9), RELEASE)
        inputs = write_inputs(work / "inputs")
        for name, build in BUILDS.items():
            found: list[dict[str, Any]] = []
            for turn in ("first", "again"):
                run_build(build, work / turn / name, inputs)
                found.append(observe(work / turn / name))
            for part in found[0]:
                assert found[0][part] == found[1][part], f"{name}: two builds differ in {part}"
            made_by = {"product": installed([PRODUCT]), "processor": processor()}
            write(folder / f"{name}.json", found[0] | made_by)
        write(folder / "scenes.json", doors.proposals(work / "first" / "procedural", KINDS, TWOS))
        prints = {name: doors.fingerprints(chosen, work / "none") for name, chosen in CONFIGURATIONS.items()}
        prints |= {name: doors.orient_fingerprints(chosen, work / "none") for name, chosen in ORIENT.items()}
        write(folder / "stages.json", prints)
        if not OLD_OUT.exists():
            run_build(OLD_BUILD, work / "old", inputs)
            pack(work / "old", OLD_OUT)


def write(path: Path, values: dict[str, Any]) -> None:
    """JSON with one line for each entry of each part: small, and a difference reads well."""
    lines: list[str] = []
    for name, part in sorted(values.items()):
        entries = part.items() if isinstance(part, dict) else ()
        inner = [f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in entries]
        text = "{\n" + ",\n".join(inner) + "\n }" if inner else json.dumps(part, ensure_ascii=False)
        lines.append(f" {json.dumps(name)}: {text}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def pack(folder: Path, archive: Path) -> None:
    archive.write_bytes(gzip.compress(tar_of(folder), 9, mtime=0))


if __name__ == "__main__":
    record(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
