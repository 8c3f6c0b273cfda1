"""Create the gallery pictures of the docs from a finished build on real models.

    python docs/images/make_screenshots.py OUT [--key KEY] [--to docs/images]

`gallery.jpg`: the grid. `card.jpg`: one sample, its edited object marked. Needs a Chromium on PATH.
"""

import argparse
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from spatialdata_builder.pipeline.commands.view import run_gallery
from tests.chromium import open_browser

HERE = Path(__file__).resolve().parent
MOST = 400_000
"""Largest size of a picture in bytes."""
LOADED = "() => [...document.images].filter((image) => image.src).every((image) => image.complete)"
CHOSEN = """async () => {  // the accepted move whose object moves farthest to the right
  const { set } = spatialdata;
  let [best, far] = [0, -Infinity];
  for (let index = 0; index < set.length; index++) {
    if (set.kinds[set.kind[index]] !== "translate" || set.states[set.state[index]] !== "accepted") continue;
    const { edit, objects } = await spatialdata.card(index);
    const { source_box: from, target_box: to } = objects.find(({ id }) => id === edit.object);
    if (to[0] - from[0] > far) [best, far] = [index, to[0] - from[0]];
  }
  return set.key[best];
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--key", default="")
    parser.add_argument("--to", type=Path, default=HERE)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="screenshots-") as folder, open_browser() as browser:
        index = Path(run_gallery(arguments.out, f"{folder}/gallery", quiet=True)["gallery"]).as_uri()
        page = browser.new_page(viewport={"width": 1400, "height": 860}, device_scale_factor=1.5)
        page.goto(index)
        page.wait_for_function(LOADED)
        save(page, arguments.to / "gallery.jpg")
        page.goto(f"{index}#open={arguments.key or page.evaluate(CHOSEN)}")
        page.wait_for_selector(".stage .picture")
        page.keyboard.press("m")
        page.keyboard.press("b")
        page.wait_for_function(LOADED)
        save(page, arguments.to / "card.jpg")


def save(page: Any, path: Path) -> None:
    """Save the page as the best JPEG of at most `MOST` bytes."""
    page.wait_for_timeout(300)
    with Image.open(io.BytesIO(page.screenshot())) as shot:
        for quality in range(92, 40, -4):
            file = io.BytesIO()
            shot.convert("RGB").save(file, "JPEG", quality=quality, optimize=True, progressive=True)
            if file.tell() <= MOST:
                break
        path.write_bytes(file.getvalue())
    sys.stdout.write(f"{path}: {path.stat().st_size} bytes, quality {quality}\n")


if __name__ == "__main__":
    main()
