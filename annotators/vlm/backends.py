"""The model in this process, through vLLM; and which backend the options name (the other one: `annotators.vlm.server`).

Invariant: both backends show a model the same pixels in the same order, hold it to the request's schema, and sample as
the checkpoint's generation configuration says but for temperature, length and seed.
"""

import multiprocessing
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any, Final

from PIL import Image

from ...shards.codecs import U8, CodecError
from ...shards.errors import BadInput, WorkerLost
from ...shards.extras import require
from ..checkpoint import find_checkpoint
from .client import UNREADABLE, Backend, Refused, Request, seed_of
from .images import messages
from .options import VlmOptions
from .orphans import end_with_me
from .server import ServerBackend

_ADDED: Final = 8
"""Requests that are handed to vLLM between two looks at what it has finished."""
_LOOK_S: Final = 5.0
"""Seconds between two looks at whether it still goes on; a quarter of the time-out where that is less."""


def open_backend(options: VlmOptions, *, images: int) -> Backend:
    """Load the model that `options` name, or connect to its server.

    Args:
        images: of one request at most.

    Raises BadInput for a package, a checkpoint, a GPU, a server or a model that is missing.
    """
    return ServerBackend(options) if options.backend == "openai" else VllmBackend(options, images=images)


class VllmBackend:
    """`vllm.LLM` in this process (or in processes of its own: vLLM settles that)."""

    def __init__(self, options: VlmOptions, *, images: int) -> None:
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
        exceptions = require("vllm.exceptions", "vllm")
        self._invalid, self._dead = (ValueError, exceptions.VLLMClientError), exceptions.VLLMServerError
        self._stepping = 0.0  # since when a step is waited for; 0: none is
        self._llm = vllm.LLM(**{**arguments, **options.engine})
        end_with_me()
        threading.Thread(target=self._watch, args=(multiprocessing.active_children(),), daemon=True).start()
        self.model, self.revision = found.model, found.revision

    def _watch(self, children: Sequence[BaseProcess]) -> None:
        """Wake who waits for vLLM where its engine's process was killed, or does nothing: vLLM goes on waiting."""
        limit = self._options.timeout_s
        sentinels = [child.sentinel for child in children]
        problem = "its engine's process ended"
        while sentinels and not wait(sentinels, min(_LOOK_S, limit / 4)):
            since = self._stepping
            if since and time.monotonic() - since > limit:
                problem = f"its engine hangs: no step in timeout_s, {limit:g} s"
                break
        if sentinels:
            self._llm.llm_engine.engine_core.outputs_queue.put(RuntimeError(problem))

    def stream(self, requests: Sequence[Request], seed: int) -> Iterator[tuple[int, str | Refused]]:
        """Answers as they are finished, all requests in flight at once; see `annotators.vlm.client.Backend`.

        vLLM batches what it holds from step to step, so nothing is gained by waiting for a call's last answer.
        """
        todo, waiting = enumerate(requests), dict[str, int]()
        try:
            while added := list(islice(todo, _ADDED)):
                for index, request in added:
                    name = self._add(request, seed)
                    if isinstance(name, Refused):
                        yield index, name
                    else:
                        waiting[name] = index
                yield from self._step(waiting)
            while waiting:
                yield from self._step(waiting)
        except WorkerLost:
            waiting.clear()
            raise
        finally:
            if waiting:  # whoever asked has given up: else the next call would get these answers
                self._llm.llm_engine.abort_request(list(waiting))

    def _add(self, request: Request, seed: int) -> str | Refused:
        """The request's name within vLLM."""
        try:
            chat = messages(request, self._options.image_side, _part)
            (name,) = self._llm.enqueue_chat([chat], [self._sampling(request, seed)], use_tqdm=False)
        except CodecError as error:
            return Refused(f"an image cannot be read: {error}", UNREADABLE)
        except self._invalid as error:
            return Refused(_line(error))
        except self._dead as error:
            raise self._lost(error) from error
        # Answers bear the number that the request was given, without the random part that follows it.
        return name.partition("-")[0]

    def _step(self, waiting: dict[str, int]) -> Iterator[tuple[int, str | Refused]]:
        """Let vLLM go on, and take what is finished out of `waiting`."""
        if not waiting:
            return
        self._stepping = time.monotonic()
        try:
            outputs = self._llm.llm_engine.step()
        except Exception as error:  # whatever it was: what the engine holds is undefined from here on
            raise self._lost(error) from error
        finally:
            self._stepping = 0.0
        for output in outputs:
            if output.finished:
                yield waiting.pop(output.request_id), _text(output.outputs[0])

    def _lost(self, error: Exception) -> WorkerLost:
        return WorkerLost(
            f"vLLM failed in {self._options.where} ({_line(error) or type(error).__name__}): its log above says why; "
            "run the same command again, answers so far are kept"
        )

    def _sampling(self, request: Request, seed: int) -> Any:
        own = self._llm.get_default_sampling_params()
        return self._sampling_params(
            temperature=self._options.temperature_of(seed),
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


def _check_gpus(options: VlmOptions) -> None:
    # Counted, not tried: once CUDA runs in this process, vLLM's own processes could not be forked from it.
    there, wanted = require("torch", "annotators").cuda.device_count(), options.tensor_parallel
    if options.gpus > 0 and there < wanted:
        raise BadInput(
            f"{options.where} asks for {wanted} GPU{'s' if wanted > 1 else ''} and torch sees {there} here: install a "
            "CUDA build of torch, run on a machine that has them, or ask a server (backend: openai)"
        )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]


def _text(completion: Any) -> str | Refused:
    if completion.finish_reason in ("stop", "length"):
        return str(completion.text)
    return Refused(f"vLLM gave the request up ({completion.finish_reason}): its log says why")


def _part(rgb: U8) -> dict[str, Any]:
    return {"type": "image_pil", "image_pil": Image.fromarray(rgb)}
