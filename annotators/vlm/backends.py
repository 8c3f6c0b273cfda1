"""Open a backend: a model in this process with vLLM (`VllmBackend`), or on a server (`annotators.vlm.server`).

Invariant: both backends send the same pixels in the same order, enforce the request's schema, and sample with the
checkpoint's generation configuration except for temperature, length and seed.
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
from .client import UNREADABLE_IMAGE, Backend, RejectedRequest, Request, seed_of
from .images import messages
from .options import VlmOptions
from .orphans import kill_children_on_exit
from .server import ServerBackend

_ADDED_PER_STEP: Final = 8
"""Requests added to vLLM before each step."""
_CHECK_S: Final = 5.0
"""Seconds between checks that vLLM's engine is alive; a quarter of the timeout if that is less."""


def open_backend(options: VlmOptions, *, images: int) -> Backend:
    """Load the model that `options` name, or connect to its server.

    Args:
        images: most images of a request.

    Raises BadInput if a package, checkpoint, GPU, server or model is missing.
    """
    return ServerBackend(options) if options.backend == "openai" else VllmBackend(options, images=images)


class VllmBackend:
    """`vllm.LLM` in this process. vLLM may start processes of its own."""

    def __init__(self, options: VlmOptions, *, images: int) -> None:
        vllm = require("vllm", "vllm")
        _check_gpus(options)
        found = find_checkpoint(options.model, options.revision)
        arguments: dict[str, Any] = {
            "model": str(found.folder),
            "dtype": options.dtype,
            "tensor_parallel_size": options.tensor_parallel,
            # Otherwise vLLM might, inside a Ray actor, ask Ray for more GPUs than the actor has.
            "distributed_executor_backend": "mp" if options.tensor_parallel > 1 else None,
            "max_model_len": options.max_model_len,
            "limit_mm_per_prompt": {"image": images, "video": 0},
            "gpu_memory_utilization": options.memory_share,
            "enforce_eager": options.enforce_eager,
            # Otherwise a model could fill its answer with white space.
            "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
            "seed": 0,
        }
        self._options = options
        self._sampling_params = vllm.SamplingParams
        self._structured = require("vllm.sampling_params", "vllm").StructuredOutputsParams
        exceptions = require("vllm.exceptions", "vllm")
        self._invalid, self._dead = (ValueError, exceptions.VLLMClientError), exceptions.VLLMServerError
        self._step_started = 0.0  # 0: no step is running
        self._llm = vllm.LLM(**{**arguments, **options.engine})
        kill_children_on_exit()
        threading.Thread(target=self._watch, args=(multiprocessing.active_children(),), daemon=True).start()
        self.model, self.revision = found.model, found.revision

    def _watch(self, children: Sequence[BaseProcess]) -> None:
        """Make a running step fail if the engine's process ends or hangs: vLLM itself would wait forever."""
        limit = self._options.timeout_s
        sentinels = [child.sentinel for child in children]
        problem = "its engine's process ended"
        while sentinels and not wait(sentinels, min(_CHECK_S, limit / 4)):
            since = self._step_started
            if since and time.monotonic() - since > limit:
                problem = f"its engine hangs: no step in timeout_s, {limit:g} s"
                break
        if sentinels:
            self._llm.llm_engine.engine_core.outputs_queue.put(RuntimeError(problem))

    def stream(self, requests: Sequence[Request], seed: int) -> Iterator[tuple[int, str | RejectedRequest]]:
        """Yield answers as they finish; see `annotators.vlm.client.Backend`.

        All requests are in flight at once, and vLLM batches them in each step.
        """
        todo, waiting = enumerate(requests), dict[str, int]()
        try:
            while added := list(islice(todo, _ADDED_PER_STEP)):
                for index, request in added:
                    name = self._add(request, seed)
                    if isinstance(name, RejectedRequest):
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
            if waiting:  # the caller stopped early: the next call must not get these answers
                self._llm.llm_engine.abort_request(list(waiting))

    def _add(self, request: Request, seed: int) -> str | RejectedRequest:
        """Add a request to vLLM, and return its id there."""
        try:
            chat = messages(request, self._options.image_side, _part)
            (name,) = self._llm.enqueue_chat([chat], [self._sampling(request, seed)], use_tqdm=False)
        except CodecError as error:
            return RejectedRequest(f"an image cannot be read: {error}", UNREADABLE_IMAGE)
        except self._invalid as error:
            return RejectedRequest(_one_line(error))
        except self._dead as error:
            raise self._lost(error) from error
        # Outputs have the number in this name as their id, without the random part after it.
        return name.partition("-")[0]

    def _step(self, waiting: dict[str, int]) -> Iterator[tuple[int, str | RejectedRequest]]:
        """Run one step of vLLM, and yield the finished answers of `waiting`, which removes them from it."""
        if not waiting:
            return
        self._step_started = time.monotonic()
        try:
            outputs = self._llm.llm_engine.step()
        except Exception as error:  # after any error the engine's state is undefined
            raise self._lost(error) from error
        finally:
            self._step_started = 0.0
        for output in outputs:
            if output.finished:
                yield waiting.pop(output.request_id), _text(output.outputs[0])

    def _lost(self, error: Exception) -> WorkerLost:
        return WorkerLost(
            f"vLLM failed in {self._options.where} ({_one_line(error) or type(error).__name__}): see its log above and "
            "rerun the same command; answers so far are kept"
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
    # Count devices without starting CUDA: vLLM cannot fork its processes from a process that has.
    available, needed = require("torch", "annotators").cuda.device_count(), options.tensor_parallel
    if options.gpus > 0 and available < needed:
        raise BadInput(
            f"{options.where} needs {needed} GPU{'s' if needed > 1 else ''}, but torch finds {available}: install a "
            "CUDA build of torch, run on a machine that has them, or use a server (backend: openai)"
        )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]


def _text(completion: Any) -> str | RejectedRequest:
    if completion.finish_reason in ("stop", "length"):
        return str(completion.text)
    return RejectedRequest(f"vLLM gave the request up ({completion.finish_reason}): its log says why")


def _part(rgb: U8) -> dict[str, Any]:
    return {"type": "image_pil", "image_pil": Image.fromarray(rgb)}
