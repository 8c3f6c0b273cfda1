"""Weights on disk: finding those of frozen models, and safetensors files that are equal between equal runs. For missing
weights the error names them and the command that fetches them."""

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..shards.errors import BadInput


def find_folder(model: str, revision: str = "", *, files: Sequence[str] = ()) -> Path:
    """A local folder, or the snapshot of a hub repository, downloaded if it is not in the cache.

    Args:
        revision: branch, tag or commit on the hub; empty: the default branch.
        files: glob patterns of the needed files; default: all.

    Raises BadInput if neither exists; the message names the command that fetches the weights.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_absolute() or model.startswith((".", "~")):
        raise BadInput(f"weights folder {model} does not exist: give one that exists on every machine, or a hub id")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, revision=revision or None, allow_patterns=list(files) or None))
    except Exception as error:  # the hub client raises many types; all mean that the weights are not available
        command = f"hf download {model}" + (f" --revision {revision}" if revision else "")
        raise BadInput(
            f"weights '{model}' are not in the hub's cache and cannot be fetched ({first_line(error)}): run "
            f"`{command}` (if gated, accept the license at https://huggingface.co/{model}, then run `hf auth "
            "login`), or give a folder"
        ) from None


def sort_metadata(path: Path) -> None:
    """Sort the metadata in the header of a safetensors file, in place, so that equal content gives equal bytes.

    safetensors writes it in the order of a hash map, which differs between processes.
    """
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(length)
        if len(ordered) == length:
            file.seek(8)
            file.write(ordered)


def check_alpha(path: Path, alpha: float, key: str) -> None:
    """Raises BadInput if a LoRA file was saved with another alpha than that of a run: its weights would be scaled anew.

    Alpha is in the file's metadata (diffusers) or in `adapter_config.json` beside it (PEFT); without either it is not
    checked.

    Args:
        key: the option of the run's alpha, for the message.
    """
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    settings = json.loads(header.get("__metadata__", {}).get("lora_adapter_metadata", "{}"))
    beside = path.with_name("adapter_config.json")
    if not settings and beside.is_file():
        settings = json.loads(beside.read_text())
    found = {value for name, value in settings.items() if name.rpartition(".")[2] == "lora_alpha"}
    if found and found != {alpha}:
        raise BadInput(f"{path} was saved with alpha {found.pop():g}, here {alpha:g}: set {key} to it")


def first_line(error: Exception) -> str:
    """The first line of a library's error message; further lines are about the library's own arguments."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


@contextmanager
def seeded(seed: int) -> Generator[None]:
    """Inside, new parameters are the same in every process. Afterwards torch's generator has its former state."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
