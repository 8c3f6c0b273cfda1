"""The model card of a run, and its upload: README.md beside the weights, with the data cards and ATTRIBUTION.md.

Invariant: the card says nothing about the machine: URLs lose their credentials, local paths all but their last part.
"""

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from ..shards.errors import BadInput, SpatialdataError
from ..shards.layout import SPLITS, base, filesystem, is_local, join
from ..shards.markdown import code, escape, fenced, link, table
from ..shards.redact import redact
from ..shards.sidecars import ATTRIBUTION
from ..shards.sidecars.card import CARD, card
from .checkpoint import Facts, best_weights, find_checkpoint, read_facts
from .metrics import read_metrics
from .registry import get_recipe
from .weights import first_line

_PATHS: Final = ("init_from", "cache", "weights", "merge", "intrinsic_vae")
"""Options that name a folder or file, also where it looks like a hub id."""
_TAGS: Final = ("image-editing", "spatial-editing", "spatialdata")


@dataclass(frozen=True)
class DataCard:
    """What the card of a dataset says.

    Args:
        url: the folder of the recipe, above the splits.
        text: README.md; empty if there is none.
        attribution: ATTRIBUTION.md; empty if there is none.
    """

    url: str
    text: str
    attribution: str

    @property
    def head(self) -> Mapping[str, Any]:
        """The metadata at the start of the card."""
        parts = self.text.split("---\n", 2)
        try:
            found: Any = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0] else {}
        except yaml.YAMLError:
            return {}
        return found if isinstance(found, dict) else {}  # pyright: ignore[reportUnknownVariableType]

    @property
    def hub_id(self) -> str:
        """`organization/name` of a dataset on the hub, else empty."""
        found = re.match(r"hf://datasets/([^/@]+/[^/@]+)", self.url)
        return found[1] if found else ""


def data_card(url: str, recipe: str) -> DataCard:
    """The card of the shards that a run reads, from the folder of the recipe: `url`, above it or below it."""
    folder = url.rstrip("/")
    above = folder.rpartition("/")[0] if base(folder) in SPLITS else folder
    for place in (above, join(above, recipe), join(above, "shards", recipe)):
        if text := _read(join(place, CARD)):
            return DataCard(place, text, _read(join(place, ATTRIBUTION)))
    return DataCard(folder, "", "")


def _read(url: str) -> str:
    fs, path = filesystem(url)
    try:
        return fs.cat_file(path).decode()
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
        return ""


def write_card(out: Path, checkpoint: Path, shards: Sequence[str], folder: Path) -> None:
    """Write README.md into `folder`, with copies of the datasets' cards and attributions.

    Args:
        out: folder of the run. checkpoint: the one whose weights the card describes.
        shards: URLs of the datasets.
    """
    facts = read_facts(checkpoint)
    cards = [data_card(url, get_recipe(facts.recipe).shards) for url in shards]
    (folder / CARD).write_bytes(card(_head(facts, cards), _text(facts, cards, out)))
    for number, each in enumerate(cards, 1):
        if each.text:
            (folder / _data_card_name(number)).write_text(each.text, encoding="utf-8")
    if credits := "\n".join(each.attribution for each in cards if each.attribution):
        (folder / ATTRIBUTION).write_text(credits, encoding="utf-8")


def _data_card_name(number: int) -> str:
    return f"DATA_CARD_{number}.md"


def _head(facts: Facts, cards: Sequence[DataCard]) -> dict[str, Any]:
    models = _models(facts)
    recipe = get_recipe(facts.recipe)
    library = getattr(recipe, "library", "")
    return {
        "base_model": [each for each in models[:1] if _is_hub_id(each)],
        **({"library_name": library} if library else {}),
        "license": "other",
        "license_name": "see-license-section",
        "tags": [*_TAGS, facts.recipe],
        "pipeline_tag": "image-to-image",
        "datasets": [each.hub_id for each in cards if each.hub_id],
    }


def _text(facts: Facts, cards: Sequence[DataCard], out: Path) -> str:
    recipe, models = get_recipe(facts.recipe), _models(facts)
    config = facts.config
    lines = read_metrics(out)
    rows = [
        ["steps", facts.step],
        ["samples per step", facts.samples_per_step],
        ["optimizer", f"{config['optimizer']}, learning rate {config['lr']:g}, {config['schedule']}"],
        ["precision", config["precision"]],
        ["seed", config["seed"]],
    ]
    parts = [
        f"# {recipe.name}, step {facts.step}\n",
        "Weights of a spatial image editing model, trained with spatialdata.\n",
        f"## Model\nBase: {', '.join(_named(each) for each in models)}.\n",
        f"## Training\n{table(['', ''], [[name, escape(str(value))] for name, value in rows])}",
        f"The whole configuration:\n{fenced(yaml.safe_dump(_plain(config), sort_keys=False), 'yaml')}",
        f"## Results\n{_results(lines, facts.step)}",
        f"## Data\n{''.join(_described(each, number) for number, each in enumerate(cards, 1))}",
        "## Licenses\nThe weights are derived from the base model and the datasets: the licenses of both apply.\n"
        + "".join(f"- {_named(each)}: see its page.\n" for each in models)
        + "".join(f"- {_shown(each.url)}: {escape(str(each.head.get('license', 'not stated')))}.\n" for each in cards),
    ]
    if any(each.attribution for each in cards):
        parts.append(f"{link(ATTRIBUTION, ATTRIBUTION)} names the creators of what the training images show.\n")
    return "\n".join(parts)


def _results(lines: Sequence[Mapping[str, Any]], step: int) -> str:
    """The last training loss, and the last held-out values."""
    known = [line for line in lines if 0 < line["step"] <= step]
    rows = [["training loss", line["step"], line["loss"]] for line in known[-1:]]
    held_out = next((line for line in reversed(known) if "val/loss" in line), {})
    rows += [[name, held_out["step"], value] for name, value in held_out.items() if name.startswith("val/")]
    shown = table(["value", "step", ""], [[name, at, f"{value:.4g}"] for name, at, value in rows if value is not None])
    return shown if held_out else f"{shown}\nNo held-out loss was measured.\n"


def _described(each: DataCard, number: int) -> str:
    dataset = link(each.hub_id, f"https://huggingface.co/datasets/{each.hub_id}") if each.hub_id else _shown(each.url)
    if not each.text:
        return f"- {dataset}, which has no card.\n"
    name = escape(str(each.head.get("pretty_name", "")))
    return f"- {dataset} {name}: {link('data card', _data_card_name(number))}.\n"


def _models(facts: Facts) -> list[str]:
    """The frozen models that the weights need, the base first."""
    recipe: Any = get_recipe(facts.recipe)
    return list(recipe.models(recipe.options_type.model_validate(facts.config["recipe"])))


def _is_hub_id(name: str) -> bool:
    return bool(re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name)) and not Path(name).exists()


def _named(model: str) -> str:
    return link(model, f"https://huggingface.co/{model}") if _is_hub_id(model) else code(Path(model).name)


def _shown(url: str) -> str:
    return code(base(url.rstrip("/")) if is_local(filesystem(url)[0]) else redact(url))


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration, without the names of local folders and files."""

    def shown(name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: shown(key, each) for key, each in value.items()}
        if isinstance(value, str) and "/" in value and (name in _PATHS or not _is_hub_id(value)):
            return Path(value).name
        return redact(value) if isinstance(value, str) else value

    return {name: shown(name, value) for name, value in config.items() if name not in ("data", "validate_images")}


def push(
    out: str | Path, repository: str, shards: Sequence[str], *, step: int | None = None, private: bool = False
) -> str:
    """Upload the weights of a run with their card to a model repository of the hub; returns its URL.

    Args:
        out: folder of the run. repository: `organization/name`; created if it does not exist.
        shards: URLs of the datasets, for the card. step: of the checkpoint; default: the newest.

    Raises:
        BadInput: no checkpoint, or no permission. SpatialdataError: the hub cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    checkpoint = find_checkpoint(Path(out), step)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        shutil.copytree(best_weights(checkpoint), folder)
        write_card(Path(out), checkpoint, shards, folder)
        try:
            api = HfApi()
            api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(
                folder_path=folder, repo_id=repository, commit_message=f"Step {read_facts(checkpoint).step}"
            )
        except HFValidationError as error:
            raise BadInput(f"{repository} is no name of a repository: write ORGANIZATION/NAME") from error
        except HfHubHTTPError as error:
            if error.response.status_code >= 500 or error.response.status_code == 429:
                raise SpatialdataError(
                    f"cannot upload to {repository} ({first_line(error)}): try again later"
                ) from error
            raise BadInput(
                f"cannot upload to {repository} ({first_line(error)}): run `hf auth login` with an account that may "
                "write there"
            ) from error
        except Exception as error:  # the hub client raises errors of several libraries for a lost connection
            raise SpatialdataError(
                f"cannot upload to {repository}: the hub cannot be reached ({first_line(error)}); nothing is lost: the "
                f"weights are in {checkpoint}, rerun `spatialdata train push`"
            ) from error
    return f"https://huggingface.co/{repository}"
