"""Does what `energon prepare` does with a folder of tars: <folder>."""

import sys
from pathlib import Path

from megatron.energon.flavors.webdataset import prepare


def main(folder: str) -> None:
    tars = sorted(str(path.relative_to(folder)) for path in Path(folder).glob("*/*.tar"))
    patterns = [(split, f"{split}/.*") for split in ("train", "val", "test")]
    prepare.WebdatasetPreparator.prepare_dataset(folder, tars, split_parts_patterns=patterns, workers=1)


if __name__ == "__main__":
    main(sys.argv[1])
