"""Answers requests as the worker of Infinigen does, with boxes instead of furniture: what happens depends on the seed.

Four seeds fail in different ways. All others make a box with a side of 0.1 m times the seed plus one.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from spatialdata_builder.sources.blender.serve import limit_cpu_time, serve
from tests.sources.models import box, glb

REPLIES = os.fdopen(os.dup(1), "w")
WRONG, DEAD, SPINNING, WAITING = 1, 2, 3, 4


def answer(request: dict[str, Any]) -> dict[str, Any]:
    if request["op"] == "hello":
        return {}
    seed, file = request["seed"], Path(request["file"])
    limit_cpu_time(request["limit_cpu_s"])
    side = 0.1 * (seed + 1) * request["scale"]
    file.write_bytes(glb(box(side, side, side))[: 100 if WRONG <= seed <= WAITING else None])
    if seed == WRONG:
        return {"error": "failed", "message": "ValueError('no legs')\nTraceback: a long text"}
    if seed == DEAD:
        sys.stderr.write("out of paint\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    while seed == SPINNING:
        pass
    if seed == WAITING:
        signal.pause()
    return {"size_m": [side] * 3, "triangles": 12, "made_triangles": 12, "asset_cpu_s": 0.1}


if __name__ == "__main__":
    folder = Path(json.loads(sys.argv[sys.argv.index("--") + 1])["folder"])
    serve(folder, REPLIES, answer)
