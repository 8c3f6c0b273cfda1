"""What stages that ask a vision-language model have in common: which model, how it is served, how it is sampled.

Invariant: fields that shape answers enter a stage's fingerprint, and `settings` puts them into the name of a cached
answer; where and how fast the model runs does neither.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, TypeVar

from ...shards.errors import BadInput

T = TypeVar("T")

RETRY_TEMPERATURE: Final = 0.7
"""At least this from the second attempt on: greedy decoding gives the same answer whatever the seed."""


def _not_fingerprinted(default: Any) -> Any:
    return field(default=default, metadata={"fingerprint": False})


@dataclass(frozen=True)
class VlmOptions:
    """Options of a vision-language model: which one, how it is served, how it is sampled."""

    renamed: ClassVar[Mapping[str, str]] = {"attempts": "answer_attempts", "tries": "send_attempts"}

    backend: Literal["vllm", "openai"] = _not_fingerprinted("vllm")
    """`vllm`: loaded in the worker; `openai`: any server that speaks OpenAI's chat completions, at `base_url`."""
    model: str = "Qwen/Qwen3-VL-32B-Instruct"
    """vllm: hub id, or a folder that every node sees; openai: the name under which the server has it."""
    revision: str = ""
    """vllm: branch, tag or commit on the hub; openai: a label for provenance, since servers do not tell."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """vllm: `auto` is the checkpoint's own."""
    engine: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """vllm: further arguments of `vllm.LLM`, such as quantization or max_num_seqs."""
    temperature: float = RETRY_TEMPERATURE
    max_tokens: int = 1536
    """Of an answer."""
    answer_attempts: int = 3
    """How often a request is asked before a malformed answer is a reject; each attempt has a seed of its own."""
    image_side: int = 1024
    """Pixels: larger images are shrunk to this longer side before they are sent."""
    tensor_parallel: int = _not_fingerprinted(1)
    """vllm: GPUs that share the model; the stage's `gpus` must be as many."""
    max_model_len: int = _not_fingerprinted(16_384)
    """vllm: tokens of a request, its images and its answer together."""
    gpu_memory_utilization: float = _not_fingerprinted(0.0)
    """vllm: share of each GPU's memory; 0: nine tenths of the share that the stage's `gpus` is of a GPU."""
    enforce_eager: bool = _not_fingerprinted(False)
    """vllm: no CUDA graphs; starts sooner, answers slower."""
    base_url: str = _not_fingerprinted("")
    """openai: such as http://host:8000/v1"""
    api_key_env: str = _not_fingerprinted("")
    """openai: name of the environment variable, on the workers, that holds the key; empty: no key is sent."""
    in_flight: int = _not_fingerprinted(32)
    """openai: requests of one worker at once."""
    timeout_s: float = _not_fingerprinted(600.0)
    """Seconds to wait. vllm: for one step of the engine, behind which it hangs and the worker is lost; openai: for the
    whole of one answer, each of `send_attempts` times, behind which the run stops. No sample is refused for either."""
    send_attempts: int = _not_fingerprinted(6)
    """openai: how often one request is sent while the server is busy, failing or away; pauses double, from 1 s."""
    answers: str = _not_fingerprinted("")
    """Folder (any fsspec URL) of the request cache; a build puts it under OUT. Empty: nothing is kept."""
    batch_size: int = _not_fingerprinted(256)
    """Samples handed over at once."""
    cpus: float = _not_fingerprinted(1.0)
    gpus: float = _not_fingerprinted(1.0)

    def __post_init__(self) -> None:
        limits = {"max_tokens": 1, "answer_attempts": 1, "image_side": 32, "tensor_parallel": 1, "max_model_len": 1}
        limits |= {"in_flight": 1, "send_attempts": 1, "batch_size": 1, "temperature": 0, "timeout_s": 0.1}
        for name, least in limits.items():
            if getattr(self, name) < least:
                raise BadInput(f"{self.where}.{name} is {getattr(self, name)}: give {least} or more")
        if not 0 <= self.gpu_memory_utilization <= 1:
            raise BadInput(f"{self.where}.gpu_memory_utilization is {self.gpu_memory_utilization}: give 0 to 1")
        if not self.model:
            raise BadInput(f"{self.where}.model is empty: give a hub id, a folder, or the server's name of the model")
        if self.backend == "openai":
            if not self.base_url.startswith(("http://", "https://")):
                raise BadInput(
                    f"{self.where}.base_url is '{self.base_url}': backend openai needs the address of a server, such "
                    "as http://host:8000/v1"
                )
            object.__setattr__(self, "gpus", 0.0)  # the server has them
        elif self.tensor_parallel > 1 and 0 < self.gpus < self.tensor_parallel:
            layer = self.where.removeprefix("layers.")
            raise BadInput(
                f"{self.where}.tensor_parallel is {self.tensor_parallel} and a worker has {self.gpus:g} GPU: set "
                f"engine.resources.{layer}.gpus to {self.tensor_parallel}"
            )

    @property
    def where(self) -> str:
        """What the options are called in messages."""
        return "vlm"

    @property
    def memory(self) -> float:
        """What vLLM may take of a GPU's memory, 0 to 1."""
        return self.gpu_memory_utilization or 0.9 * (min(self.gpus, 1.0) or 1.0)

    @property
    def settings(self) -> dict[str, Any]:
        """What shapes an answer beside the model, its revision and the request."""
        names = ("dtype", "engine", "temperature", "max_tokens", "image_side")
        return {name: getattr(self, name) for name in names}

    def temperature_of(self, seed: int) -> float:
        """The temperature of an attempt."""
        return self.temperature if seed == 0 else max(self.temperature, RETRY_TEMPERATURE)
