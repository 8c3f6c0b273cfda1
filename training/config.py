"""The typed configuration of a training run. Later sources override earlier ones: the recipe's preset `paper`, one YAML
file, the requested preset, `--set a.b=c`.

Invariant: configuration and shards together determine the results of a run. `differences` lists the keys in which two
configurations describe different runs. All other keys (where to log, how often to save) may change on resume.
"""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from ..shards.errors import BadInput
from ..shards.options import Options, parse_yaml, read_yaml, shortened
from .optimizers import OptimizerName
from .recipe import TrainingRecipe

ScheduleName = Literal["constant", "linear", "cosine"]
PAPER: Final = "paper"
"""The preset that every configuration starts from, if the recipe has it."""
FREE: Final = (
    "save_every",
    "keep",
    "max_hours",
    "validate_every",
    "validate_samples",
    "validate_loss_samples",
    "validate_times",
    "validate_keys",
    "validate_images",
    "log",
    "gradient_checkpointing",
    "compile",
    "sharded",
    "data",
    "recipe.cache",
    "recipe.cache_bytes",
    "recipe.unload_encoders",
)
"""Keys that do not affect the trained weights and may change on resume."""
_BATCH_KEYS: Final = ("batch_size", "accumulate")
"""May change if batch_size x accumulate x processes does not: each step then has the same samples."""


class DataOptions(Options):
    """Section `data`: how the shards are read; see `shards.stream`."""

    threads: int = Field(default=0, ge=0, description="threads that read and decode, per process; 0: one per core")
    prefetch: int = Field(default=4, ge=0, description="batches prepared in advance")
    on_error: Literal["raise", "skip"] = Field(default="raise", description="what to do with a damaged sample")
    cache: str = Field(default="", description="local folder that caches whole shards of remote datasets")
    cache_bytes: int = Field(default=100 << 30, ge=1)
    buckets: bool = Field(default=False, description="allow images of several sizes; each batch has one size")
    one_per_family: bool = Field(default=False, description="one of the samples that share a scene in each epoch")
    validate_split: str = Field(default="val", description="split of the held-out loss and the validation images")


class LossOptions(Options):
    """Section `loss`: weights within a sample's loss."""

    changed_weight: float = Field(
        default=1,
        gt=0,
        allow_inf_nan=False,
        description="weight of what the edit changed (member `changed`), where the rest has weight 1; the weights of a "
        "sample have mean 1",
    )


class OwnImage(Options):
    """An image of the user's for `validate_images`."""

    image: str = Field(min_length=1, description="file; resized and center-cropped to the size of the shards' images")
    instruction: str = Field(min_length=1)


class TrainConfig(Options):
    """The configuration of a run. `recipe` holds the recipe's own options."""

    steps: int = Field(default=3000, ge=1, description="optimizer steps")
    batch_size: int = Field(default=4, ge=1, description="samples per forward pass and process")
    accumulate: int = Field(default=1, ge=1, description="forward passes per optimizer step")
    precision: Literal["no", "bf16"] = "bf16"
    gradient_checkpointing: bool = Field(default=True, description="recompute activations instead of storing them")
    sharded: bool = Field(default=False, description="FSDP2: shard weights and optimizer state over the processes")
    tf32: bool = Field(default=False, description="TF32 for float32 matrix products and convolutions on GPUs")
    compile: bool = Field(default=False, description="torch.compile each layer")
    optimizer: OptimizerName = Field(default="adamw", description="see `training.optimizers`")
    lr: float = Field(default=1e-4, gt=0, allow_inf_nan=False)
    betas: tuple[float, float] = Field(default=(0.9, 0.999), description="of AdamW and Prodigy")
    weight_decay: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    schedule: ScheduleName = Field(default="constant", description="learning rate schedule after the warmup")
    warmup: int = Field(default=0, ge=0, description="warmup steps of the learning rate")
    clip: float = Field(default=1.0, ge=0, allow_inf_nan=False, description="maximum gradient norm; 0: no clipping")
    ema: float = Field(default=0.0, ge=0, lt=1, description="decay of the weight average, such as 0.999; 0: no average")
    seed: int = Field(default=0, ge=0, lt=2**63)
    save_every: int = Field(default=500, ge=1, description="steps between checkpoints")
    keep: int = Field(default=3, ge=1, description="number of newest checkpoints to keep")
    max_hours: float = Field(
        default=0, ge=0, allow_inf_nan=False, description="hours after which the run saves and stops; 0: no limit"
    )
    init_from: str = Field(
        default="",
        description="initial weights of a new run: the folder of a run, a checkpoint, a result folder or a LoRA file",
    )
    validate_every: int = Field(default=500, ge=0, description="steps between validations; 0: none")
    validate_samples: int = Field(default=4, ge=0, description="validation images of held-out samples")
    validate_keys: tuple[str, ...] = Field(default=(), description="keys of these samples; default: the first ones")
    validate_images: tuple[OwnImage, ...] = Field(default=(), description="validation images of your own images")
    validate_loss_samples: int = Field(default=64, ge=0, description="samples of the held-out loss; 0: no such loss")
    validate_times: int = Field(default=5, ge=1, description="time steps of the held-out loss, evenly spaced")
    log: Literal["none", "tensorboard", "wandb"] = "tensorboard"
    loss: LossOptions = LossOptions()
    data: DataOptions = DataOptions()
    recipe: dict[str, Any] = Field(default_factory=dict[str, Any], description="the recipe's own options")

    @model_validator(mode="after")
    def _check_quantization(self) -> "TrainConfig":
        if self.sharded and self.recipe.get("quantize"):
            raise ValueError("quantized weights cannot be sharded: set sharded to false, or remove recipe.quantize")
        return self

    @model_validator(mode="after")
    def _check_betas(self) -> "TrainConfig":
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be at least 0 and below 1 (got {self.betas})")
        return self


def load_config(
    recipe: type[TrainingRecipe], path: str | Path | None = None, preset: str = "", overrides: Sequence[str] = ()
) -> TrainConfig:
    """The configuration of a run. The recipe's options type validates the section `recipe` and fills in defaults.

    Raises:
        BadInput: no such file or preset, not YAML, an unknown key or a bad value; one line that says what to write.
    """
    if preset and preset not in recipe.presets:
        raise BadInput(f"{recipe.name} has no preset '{preset}': use one of {', '.join(recipe.presets)}")
    values = merged(recipe.presets.get(PAPER, {}), read_yaml(Path(path)) if path is not None else {})
    if preset:
        values = merged(values, recipe.presets[preset])
    for override in overrides:
        values = merged(values, _nested(override))
    return parse_config(recipe, values, str(path) if path is not None else "configuration")


def parse_config(recipe: type[TrainingRecipe], values: Mapping[str, Any], origin: str = "configuration") -> TrainConfig:
    """Validate plain values; see `load_config`."""
    config = _validated(TrainConfig, values, origin, "")
    options = _validated(recipe.options_type, config.recipe, origin, "recipe.")
    return config.model_copy(update={"recipe": options.model_dump(mode="json")})


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two configurations. Sections are merged key by key; any other value of `above` replaces that of `below`."""
    both = {
        name: merged(below[name], value) if isinstance(value, Mapping) and isinstance(below[name], Mapping) else value
        for name, value in above.items()
        if name in below
    }
    return {**below, **above, **both}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The keys, as `a.b (old value, here new value)`, in which two configurations describe different runs.

    `steps` may grow on resume, unless the learning rate schedule depends on it.
    """
    free = {*FREE, *_BATCH_KEYS}
    if new.get("schedule") == "constant":
        free.add("steps")
    before, after = _flat(old), _flat(new)
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    names = sorted(name for name in changed if not {name, name.partition(".")[0]} & free)
    return [f"{name} ({before.get(name, 'absent')!r}, here {after.get(name, 'absent')!r})" for name in names]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return found


def _validated(model: type[Options], values: Mapping[str, Any], origin: str, prefix: str) -> Any:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise BadInput(f"{origin}: {_explain(error, model, prefix)}") from None


def _explain(error: ValidationError, model: type[BaseModel], prefix: str) -> str:
    """One line about the first problem: the key, the closest valid key, the allowed values."""
    first = error.errors()[0]
    location = [str(part) for part in first["loc"]]
    key = prefix + ".".join(location)
    if first["type"] == "extra_forbidden":
        for part in location[:-1]:
            inner = model.model_fields[part].annotation
            model = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else model
        near = difflib.get_close_matches(location[-1], model.model_fields, n=1, cutoff=0.5)
        meant = f"; did you mean '{near[0]}'?" if near else ""
        return f"unknown key '{key}'{meant}; allowed: {', '.join(sorted(model.model_fields))}"
    if first["type"] == "value_error":
        message = str(first["ctx"]["error"]) if "ctx" in first else first["msg"]
        return f"{key}: {message}" if location else message
    return f"{key}: {first['msg'][0].lower()}{first['msg'][1:]} (got {first['input']!r})"


def _nested(override: str) -> dict[str, Any]:
    name, separator, text = override.partition("=")
    if not separator or not all(name.split(".")):
        raise BadInput(f"--set {override}: write --set key=value, such as --set lr=1e-4 or --set recipe.rank=16")
    value: Any = parse_yaml(text, f"--set {shortened(override)}: the value")
    for part in reversed(name.split(".")):
        value = {part: value}
    return value
