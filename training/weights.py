"""Where the frozen models' weights are. What is missing is one line that names it and the command that mends it."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..shards.errors import BadInput


def find_folder(model: str, revision: str = "", *, files: Sequence[str] = ()) -> Path:
    """A local folder, or a hub repository's snapshot, fetched where the cache lacks it.

    Args:
        revision: branch, tag or commit on the hub; empty: the default branch.
        files: glob patterns of what is needed; all by default.

    Raises BadInput where there is neither, naming the command that fetches it.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_absolute() or model.startswith((".", "~")):
        raise BadInput(f"folder of weights {model} does not exist: give one on every machine, or a hub id")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, revision=revision or None, allow_patterns=list(files) or None))
    except Exception as error:  # the hub's client raises many kinds, all of which mean: not here
        command = f"hf download {model}" + (f" --revision {revision}" if revision else "")
        raise BadInput(
            f"weights '{model}' are not in the hub's cache and cannot be fetched ({first_line(error)}): run "
            f"`{command}` (gated ones: accept their licence at https://huggingface.co/{model}, then `hf auth login`), "
            "or give a folder"
        ) from None


def first_line(error: Exception) -> str:
    """Of a library's message, whose other lines are about its own arguments."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


@contextmanager
def seeded(seed: int) -> Generator[None]:
    """New parameters inside are equal in every process, and torch's own generator is left as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
