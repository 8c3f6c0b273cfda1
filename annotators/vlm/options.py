"""Options of the stages that use a vision-language model: which model, how it is served, how it is sampled.

Invariant: fields that determine answers are part of a stage's fingerprint, and `settings` of a cached answer's name.
Fields that say where and how fast the model runs are part of neither.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, TypeVar

from ...shards.errors import BadInput

T = TypeVar("T")

RETRY_TEMPERATURE: Final = 0.7
"""Lowest temperature from the second attempt on: greedy decoding would repeat the answer whatever the seed."""


def _not_fingerprinted(default: Any) -> Any:
    return field(default=default, metadata={"fingerprint": False})


@dataclass(frozen=True)
class VlmOptions:
    """Options of a vision-language model. `vllm:` and `openai:` mark options that only this backend uses."""

    renamed: ClassVar[Mapping[str, str]] = {"attempts": "answer_attempts", "tries": "send_attempts"}

    backend: Literal["vllm", "openai"] = _not_fingerprinted("vllm")
    """`vllm`: the worker loads the model; `openai`: any server with OpenAI's chat completions API, at `base_url`."""
    model: str = "Qwen/Qwen3-VL-32B-Instruct"
    """vllm: hub id, or a folder that every node can read; openai: the model's name on the server."""
    revision: str = ""
    """vllm: branch, tag or commit on the hub; openai: a label for provenance, since servers do not report it."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """vllm: `auto` is the checkpoint's own data type."""
    engine: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """vllm: further arguments of `vllm.LLM`, such as quantization or max_num_seqs."""
    temperature: float = RETRY_TEMPERATURE
    max_tokens: int = 1536
    """Most tokens of an answer."""
    answer_attempts: int = 3
    """Attempts, each with another seed, before a malformed answer is a reject."""
    image_side: int = 1024
    """Longer side of an image, pixels: larger images are resized before they are sent."""
    tensor_parallel: int = _not_fingerprinted(1)
    """vllm: GPUs that share the model; the stage's `gpus` must be at least as many."""
    max_model_len: int = _not_fingerprinted(16_384)
    """vllm: most tokens of a request, with its images and its answer."""
    gpu_memory_utilization: float = _not_fingerprinted(0.0)
    """vllm: share of each GPU's memory; 0: 0.9 times the stage's `gpus`, at most 0.9."""
    enforce_eager: bool = _not_fingerprinted(False)
    """vllm: no CUDA graphs; starts sooner, answers slower."""
    base_url: str = _not_fingerprinted("")
    """openai: the server's address, such as http://host:8000/v1."""
    api_key_env: str = _not_fingerprinted("")
    """openai: name of the workers' environment variable that holds the key; empty: no key is sent."""
    in_flight: int = _not_fingerprinted(32)
    """openai: concurrent requests of one worker."""
    timeout_s: float = _not_fingerprinted(600.0)
    """Time limit, seconds. vllm: for one step of the engine, after which the worker is lost; openai: for one answer in
    each of `send_attempts` attempts, after which the run stops. Neither rejects a sample."""
    send_attempts: int = _not_fingerprinted(6)
    """openai: how often a request is sent while the server is busy, failing or absent; pauses double, from 1 s."""
    answers: str = _not_fingerprinted("")
    """Folder (any fsspec URL) of the answer cache, which a build puts under OUT. Empty: answers are not cached."""
    batch_size: int = _not_fingerprinted(256)
    """Samples per call of the stage."""
    cpus: float = _not_fingerprinted(1.0)
    gpus: float = _not_fingerprinted(1.0)

    def __post_init__(self) -> None:
        limits = {"max_tokens": 1, "answer_attempts": 1, "image_side": 32, "tensor_parallel": 1, "max_model_len": 1}
        limits |= {"in_flight": 1, "send_attempts": 1, "batch_size": 1, "temperature": 0, "timeout_s": 0.1}
        for name, least in limits.items():
            if getattr(self, name) < least:
                raise BadInput(f"{self.where}.{name} must be {least} or more (got {getattr(self, name)})")
        if not 0 <= self.gpu_memory_utilization <= 1:
            raise BadInput(f"{self.where}.gpu_memory_utilization must be 0 to 1 (got {self.gpu_memory_utilization})")
        if not self.model:
            raise BadInput(f"{self.where}.model is empty: set a hub id, a folder, or the model's name on the server")
        if self.backend == "openai":
            if not self.base_url.startswith(("http://", "https://")):
                raise BadInput(
                    f"{self.where}.base_url must be the address of a server, such as http://host:8000/v1, for backend "
                    f"openai (got '{self.base_url}')"
                )
            object.__setattr__(self, "gpus", 0.0)  # the server has them
        elif self.tensor_parallel > 1 and 0 < self.gpus < self.tensor_parallel:
            layer = self.where.removeprefix("layers.")
            raise BadInput(
                f"{self.where}.tensor_parallel is {self.tensor_parallel}, but a worker has {self.gpus:g} GPU: set "
                f"engine.resources.{layer}.gpus to {self.tensor_parallel}"
            )

    @property
    def where(self) -> str:
        """The name of the options in messages."""
        return "vlm"

    @property
    def memory_share(self) -> float:
        """Share of a GPU's memory that vLLM may use, 0 to 1."""
        return self.gpu_memory_utilization or 0.9 * (min(self.gpus, 1.0) or 1.0)

    @property
    def settings(self) -> dict[str, Any]:
        """What determines an answer besides the model, its revision and the request."""
        names = ("dtype", "engine", "temperature", "max_tokens", "image_side")
        return {name: getattr(self, name) for name in names}

    def temperature_of(self, seed: int) -> float:
        """The temperature of an attempt."""
        return self.temperature if seed == 0 else max(self.temperature, RETRY_TEMPERATURE)
