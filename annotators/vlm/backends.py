"""The model in this process, through vLLM; and which backend the options name (the other one: `annotators.vlm.server`).

Invariant: both backends show a model the same pixels in the same order, hold it to the request's schema, and sample as
the checkpoint's generation configuration says but for temperature, length and seed.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image

from annotators.checkpoint import find_checkpoint, require
from annotators.vlm.client import Backend, Refused, Request, seed_of
from annotators.vlm.images import messages
from annotators.vlm.server import ServerBackend
from shards.codecs import U8, CodecError
from shards.errors import BadInput

if TYPE_CHECKING:
    from annotators.vlm.options import VlmOptions


def open_backend(options: "VlmOptions", *, images: int) -> Backend:
    """Load the model that `options` name, or connect to its server.

    Args:
        images: of one request at most.

    Raises BadInput for a package, a checkpoint, a GPU, a server or a model that is missing.
    """
    return ServerBackend(options) if options.backend == "openai" else VllmBackend(options, images=images)


class VllmBackend:
    """`vllm.LLM` in this process (or in processes of its own: vLLM settles that)."""

    def __init__(self, options: "VlmOptions", *, images: int) -> None:
        vllm = require("vllm", "vllm")
        _check_gpus(options)
        found = find_checkpoint(options.model, options.revision)
        arguments: dict[str, Any] = {
            "model": str(found.folder),
            "dtype": options.dtype,
            "tensor_parallel_size": options.tensor_parallel,
            # Inside a Ray actor vLLM might otherwise ask Ray for GPUs beside those that the actor holds.
            "distributed_executor_backend": "mp" if options.tensor_parallel > 1 else None,
            "max_model_len": options.max_model_len,
            "limit_mm_per_prompt": {"image": images, "video": 0},
            "gpu_memory_utilization": options.memory,
            "enforce_eager": options.enforce_eager,
            # Free white space between tokens would let a model fill its answer with it.
            "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
            "seed": 0,
        }
        self._options = options
        self._sampling_params = vllm.SamplingParams
        self._structured = require("vllm.sampling_params", "vllm").StructuredOutputsParams
        self._invalid = (ValueError, require("vllm.exceptions", "vllm").VLLMClientError)
        self._engine = vllm.LLM(**{**arguments, **options.engine})
        self.model, self.revision = found.model, found.revision

    def complete(self, requests: Sequence[Request], seed: int) -> list[str | Refused]:
        """Answers in order, all requests in flight at once; see `annotators.vlm.client.Backend`."""
        chats = [self._chat(request) for request in requests]
        sound = [index for index, chat in enumerate(chats) if not isinstance(chat, Refused)]
        answers = self._run([chats[index] for index in sound], [self._sampling(requests[i], seed) for i in sound])
        told = dict(zip(sound, answers, strict=True))
        return [chat if isinstance(chat, Refused) else told[index] for index, chat in enumerate(chats)]

    def _chat(self, request: Request) -> list[dict[str, Any]] | Refused:
        try:
            return messages(request, self._options.image_side, _part)
        except CodecError as error:
            return Refused(f"an image cannot be read: {error}")

    def _sampling(self, request: Request, seed: int) -> Any:
        own = self._engine.get_default_sampling_params()
        return self._sampling_params(
            temperature=self._options.heat(seed),
            top_p=own.top_p,
            top_k=own.top_k,
            min_p=own.min_p,
            repetition_penalty=own.repetition_penalty,
            presence_penalty=own.presence_penalty,
            frequency_penalty=own.frequency_penalty,
            max_tokens=self._options.max_tokens,
            seed=seed_of(request, seed),
            structured_outputs=self._structured(json=dict(request.schema)),
        )

    def _run(self, chats: Sequence[Any], sampling: Sequence[Any]) -> list[str | Refused]:
        """A request that vLLM does not take (too long) fails its whole call: it is found by halving."""
        if not chats:
            return []
        try:
            outputs = self._engine.chat(list(chats), list(sampling), use_tqdm=False)
        except self._invalid as error:
            if len(chats) == 1:
                return [Refused(" ".join(str(error).split())[:400])]
            half = len(chats) // 2
            return self._run(chats[:half], sampling[:half]) + self._run(chats[half:], sampling[half:])
        return [_text(output.outputs[0]) for output in outputs]


def _check_gpus(options: "VlmOptions") -> None:
    # Counted, not tried: once CUDA runs in this process, vLLM's own processes could not be forked from it.
    there, wanted = require("torch", "annotators").cuda.device_count(), options.tensor_parallel
    if options.gpus > 0 and there < wanted:
        raise BadInput(
            f"{options.where} asks for {wanted} GPU{'s' if wanted > 1 else ''} and torch sees {there} here: install a "
            "CUDA build of torch, run on a machine that has them, or ask a server (backend: openai)"
        )


def _text(completion: Any) -> str | Refused:
    if completion.finish_reason in ("stop", "length"):
        return str(completion.text)
    return Refused(f"vLLM gave the request up ({completion.finish_reason}): its log says why")


def _part(rgb: U8) -> dict[str, Any]:
    return {"type": "image_pil", "image_pil": Image.fromarray(rgb)}
