"""Metric3D backend: an ONNX graph in ONNX Runtime.

Invariant: names, shapes and precision of a graph's inputs and outputs are checked when it is loaded. Known graphs: the
authors' export (`image` float32 [1, 3, 616, 1064] -> `pred_depth` [1, 1, H, W]) and those of `onnx-community`
(`pixel_values` float32 or float16 [B, 3, H, W] -> `predicted_depth` [B, H, W], `predicted_normal` [B, 3, H, W],
`normal_confidence`). Both take 0..255 and normalize inside.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..shards.codecs import F32
from ..shards.errors import BadInput
from ..shards.extras import require
from .checkpoint import digest_of, find_checkpoint
from .metric3d_backends import BackendOptions, Prediction, check_map_size, family_canvas, first_line

_INPUTS: Final = ("image", "pixel_values")
_DEPTHS: Final = ("pred_depth", "predicted_depth", "depth")
_NORMALS: Final = ("predicted_normal", "pred_normal", "prediction_normal", "normal")
_FLOATS: Final[dict[str, type[np.floating[Any]]]] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_EXPORT: Final = "use an export of Metric3D's onnx/metric3d_onnx_export.py, or onnx-community/metric3d-vit-large"
_WITH_NORMALS: Final = "the authors' export gives only depth: use onnx-community/metric3d-vit-large, or backend: hub"


@dataclass(frozen=True)
class _Graph:
    """The file of an ONNX model."""

    path: Path
    name: str
    revision: str


@dataclass(frozen=True)
class OnnxBackend:
    """An ONNX Runtime session whose inputs and outputs have been checked."""

    session: Any
    name: str
    revision: str
    canvas: tuple[int, int]
    input: str
    dtype: type[np.floating[Any]]
    outputs: tuple[str, ...]
    """Names of depth and, if needed, normals."""
    batch: int
    """The fixed batch size of the graph; 0 if it is dynamic."""

    def __call__(self, canvases: Sequence[F32]) -> list[Prediction]:
        size = self.batch or len(canvases)
        found: list[Prediction] = []
        for first in range(0, len(canvases), size):
            part = canvases[first : first + size]
            filled = [*part, *[part[-1]] * (size - len(part))]
            batch = np.stack(filled).astype(self.dtype, copy=False)
            maps = [np.asarray(output, np.float32) for output in self.session.run(self.outputs, {self.input: batch})]
            found += self._split(maps, len(part), size)
        return found

    def _split(self, maps: Sequence[F32], count: int, size: int) -> list[Prediction]:
        for values in maps:
            check_map_size(self.name, values.shape[-2:], self.canvas)
        depth = maps[0].reshape(size, *self.canvas)
        normals = maps[1][:, :3] if len(maps) > 1 else None
        return [Prediction(depth[i], None if normals is None else normals[i]) for i in range(count)]


def load_onnx(options: BackendOptions, file: str) -> OnnxBackend:
    """Load an ONNX graph: a file, a folder that holds one, or a hub repository.

    Args:
        file: the graph's name in a folder or repository; empty: the only graph of a folder, `onnx/model.onnx` on the
            hub.

    Raises BadInput if a file, an input or an output is missing, or if ONNX Runtime cannot use the GPU.
    """
    runtime = require("onnxruntime", "annotators")
    graph = _find_graph(options.model, file, options.revision)
    session = _session(runtime, graph, options)
    node = _image_input(graph, session.get_inputs())
    return OnnxBackend(
        session=session,
        name=graph.name,
        revision=graph.revision,
        canvas=_canvas_of(graph, node.shape[2:], options),
        input=node.name,
        dtype=_FLOATS[node.type],
        outputs=_outputs(
            graph, {output.name: output.shape for output in session.get_outputs()}, normals=options.normals
        ),
        batch=_fixed(node.shape[0]),
    )


def _image_input(graph: _Graph, inputs: Sequence[Any]) -> Any:
    nodes = {node.name: node for node in inputs}
    node = nodes[_pick(graph, "input", _INPUTS, nodes)]
    if len(nodes) > 1:
        raise BadInput(f"{graph.name} has more inputs than an image ({', '.join(nodes)}): {_EXPORT}")
    if node.type not in _FLOATS or len(node.shape) != 4 or _fixed(node.shape[1]) not in (0, 3):
        raise BadInput(
            f"input `{node.name}` of {graph.name} is {node.type} {node.shape}, not float [B, 3, H, W]: {_EXPORT}"
        )
    return node


def _outputs(graph: _Graph, shapes: Mapping[str, Sequence[object]], *, normals: bool) -> tuple[str, ...]:
    depth = _pick(graph, "output", _DEPTHS, shapes)
    if not normals:
        return (depth,)
    name = _pick(graph, "output", _NORMALS, shapes, _WITH_NORMALS)
    shape = shapes[name]
    if len(shape) != 4 or _fixed(shape[1]) not in (0, 3, 4):
        raise BadInput(f"output `{name}` of {graph.name} is {shape}, not normals [B, 3 or 4, H, W]: {_WITH_NORMALS}")
    return depth, name


def _find_graph(model: str, file: str, revision: str) -> _Graph:
    path = Path(model).expanduser()
    if path.is_dir():
        path = _only_graph(path, file)
    if path.is_file():
        return _Graph(path, path.name, _digest(path))
    if path.suffix == ".onnx":
        raise BadInput(
            f"ONNX file {model} does not exist: give a file or folder that exists on every node, or a hub id"
        )
    name = file or "onnx/model.onnx"
    found = find_checkpoint(model, revision, files=[name, f"{name}[._]data*"])
    if not (found.folder / name).is_file():
        raise BadInput(f"checkpoint '{model}' has no file {name}: name its graph with the option `file`")
    return _Graph(found.folder / name, f"{model}/{name}", found.revision)


def _only_graph(folder: Path, file: str) -> Path:
    if file:
        if not (folder / file).is_file():
            raise BadInput(f"checkpoint folder {folder} has no file {file}: see the option `file`")
        return folder / file
    graphs = sorted(folder.rglob("*.onnx"))
    if len(graphs) != 1:
        names = ", ".join(path.relative_to(folder).as_posix() for path in graphs) or "none"
        raise BadInput(
            f"checkpoint folder {folder} must have one .onnx file, or the option `file` must name one (found: {names})"
        )
    return graphs[0]


def _digest(path: Path) -> str:
    """Digest of the graph and of its external weight files."""
    return "+".join(digest_of(part) for part in [path, *sorted(path.parent.glob(f"{path.name}[._]data*"))])


def _session(runtime: Any, graph: _Graph, options: BackendOptions) -> Any:
    providers = ["CPUExecutionProvider"]
    advice = "pip uninstall onnxruntime && pip install onnxruntime-gpu"
    where = f"layer '{options.layer}' asks for {options.gpus:g} GPU"
    if options.gpus > 0:
        if "CUDAExecutionProvider" not in runtime.get_available_providers():
            raise BadInput(f"{where} but this onnxruntime has no CUDA: {advice}, or set its gpus to 0")
        runtime.preload_dlls()
        providers.insert(0, "CUDAExecutionProvider")
    session_options = runtime.SessionOptions()
    session_options.intra_op_num_threads = options.threads
    # Errors are raised; logging them would repeat the message.
    session_options.log_severity_level = 4
    try:
        session = runtime.InferenceSession(str(graph.path), session_options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions have no common base
        raise BadInput(f"ONNX Runtime cannot load {graph.path} ({first_line(error)}): {_EXPORT}") from None
    if session.get_providers()[0] != providers[0]:
        raise BadInput(f"{where} but ONNX Runtime cannot start CUDA: install CUDA and cuDNN, or set its gpus to 0")
    return session


def _pick(graph: _Graph, side: str, names: Sequence[str], found: Iterable[str], advice: str = _EXPORT) -> str:
    available = list(found)
    for name in names:
        if name in available:
            return name
    known = " or ".join(f"`{name}`" for name in names)
    raise BadInput(f"{graph.name} has no {side} {known} (found: {', '.join(available)}): {advice}")


def _canvas_of(graph: _Graph, sides: Sequence[object], options: BackendOptions) -> tuple[int, int]:
    """The graph's fixed size, else the configured one, else that of the model family."""
    height, width = (_fixed(side) for side in sides)
    if height and width:
        if any(options.canvas) and options.canvas != (height, width):
            raise BadInput(
                f"layers.{options.layer}.canvas is {list(options.canvas)}, but {graph.name} takes only "
                f"{[height, width]}: remove the option, or use a graph with dynamic height and width"
            )
        return height, width
    return options.canvas if any(options.canvas) else family_canvas(f"{options.model} {graph.name}")


def _fixed(side: object) -> int:
    """A dimension's size; 0 if it is dynamic."""
    return side if isinstance(side, int) and side > 0 else 0
