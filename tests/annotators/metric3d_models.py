"""Small models with Metric3D's inputs and outputs and known results: ONNX graphs, and a torch.hub repository."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Shape = Sequence[int | str]


def save_graph(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, np.ndarray],
    inputs: Mapping[str, tuple[int, Shape]],
    outputs: Mapping[str, tuple[int, Shape]],
) -> str:
    """Check and save a graph; `inputs` and `outputs` are name -> (element type, shape)."""
    graph = helper.make_graph(
        list(nodes),
        "metric3d",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return str(path)


def red_channel(output: str = "pred_depth", image: str = "image") -> list[onnx.NodeProto]:
    """`output` = the image's red, 0..255: (B, 1, H, W). Needs the constants of `red_constants`."""
    return [helper.make_node("Slice", [image, "zero", "one", "channel"], [output])]


def red_constants() -> dict[str, np.ndarray]:
    return {name: np.array([value], np.int64) for name, value in (("zero", 0), ("one", 1), ("channel", 1))}


def stock(path: Path, canvas: tuple[int, int], ramp: np.ndarray | None = None, *, batch: int | str = 1) -> str:
    """Like the authors' export: fixed size, only depth, which is a ramp over the canvas or the image's red."""
    constants, nodes = red_constants(), red_channel("red" if ramp is not None else "pred_depth")
    if ramp is not None:
        constants |= {"ramp": ramp.astype(np.float32)[None, None], "nothing": np.zeros((), np.float32)}
        nodes.append(helper.make_node("Mul", ["red", "nothing"], ["blank"]))
        nodes.append(helper.make_node("Add", ["blank", "ramp"], ["pred_depth"]))
    shape = (batch, 3, *canvas)
    outputs = {"pred_depth": (TensorProto.FLOAT, (batch, 1, *canvas))}
    return save_graph(path, nodes, constants, {"image": (TensorProto.FLOAT, shape)}, outputs)


def community(path: Path, *, half: bool = False, channels: int = 3, scale: float = 1.0) -> str:
    """Like the exports of `onnx-community`: any size; depth = red * scale, normals = (rgb - 128) / 127."""
    kind, dtype = (TensorProto.FLOAT16, np.float16) if half else (TensorProto.FLOAT, np.float32)
    constants = red_constants() | {
        "middle": np.array(128, dtype),
        "half": np.array(1 / 127, dtype),
        "scale": np.array(scale, dtype),
        "axis": np.array([1], np.int64),
    }
    nodes = [
        *red_channel("red", "pixel_values"),
        helper.make_node("Mul", ["red", "scale"], ["scaled"]),
        helper.make_node("Squeeze", ["scaled", "axis"], ["predicted_depth"]),
        helper.make_node("Sub", ["pixel_values", "middle"], ["centered"]),
        helper.make_node("Mul", ["centered", "half"], ["vectors"]),
        helper.make_node("Concat", ["vectors", "red"][: channels - 2], ["predicted_normal"], axis=1),
        helper.make_node("Squeeze", ["red", "axis"], ["normal_confidence"]),
    ]
    flat = ("batch_size", "H", "W")
    outputs = {
        "predicted_depth": (kind, flat),
        "predicted_normal": (kind, ("batch_size", channels, "H", "W")),
        "normal_confidence": (kind, flat),
    }
    return save_graph(path, nodes, constants, {"pixel_values": (kind, ("batch_size", 3, "H", "W"))}, outputs)


def hungry(path: Path) -> str:
    """Depth is the image's red. A batch of more than one image allocates 2^45 numbers."""
    constants = red_constants() | {"numbers": np.array([2**45], np.int64)}
    nodes = [
        *red_channel("red"),
        helper.make_node("Shape", ["image"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"]),
        helper.make_node("Sub", ["batch", "one"], ["others"]),
        helper.make_node("Concat", ["others", "numbers"], ["wanted"], axis=0),
        helper.make_node("ConstantOfShape", ["wanted"], ["memory"]),
        helper.make_node("ReduceSum", ["memory"], ["nothing"], keepdims=0),
        helper.make_node("Add", ["red", "nothing"], ["pred_depth"]),
    ]
    inputs = {"image": (TensorProto.FLOAT, ("B", 3, "H", "W"))}
    return save_graph(path, nodes, constants, inputs, {"pred_depth": (TensorProto.FLOAT, ("B", 1, "H", "W"))})


HUBCONF = '''
import torch


class Network(torch.nn.Module):
    """The interface of the authors' model. Depth is the red of the image before normalization."""

    def __init__(self, normals, gain=1.0):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor([gain]))
        self.normals = normals

    def inference(self, data):
        rgb = data["input"]
        # Like the authors' decoders: a table with a row for each image of the first batch.
        if "table" not in self._buffers:
            self.register_buffer("table", torch.ones(len(rgb), 1, 1, 1, device=rgb.device), persistent=False)
        mean = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)
        deviation = torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1)
        seen = rgb * deviation + mean
        depth = seen[:, :1] * self.gain * self.table[: len(rgb)]
        more = {"prediction": depth}
        if self.normals:
            more["prediction_normal"] = torch.cat([(seen - 128) / 127, torch.ones_like(depth)], dim=1)
        return depth, seen[:, 1:2, ::2, ::2], more


def metric3d_vit_small(pretrain=False):
    assert pretrain
    return Network(True)


def metric3d_vit_large(pretrain=False):
    return Network(True, gain=2.0)


def metric3d_convnext_tiny(pretrain=False):
    return Network(False)


def metric3d_vit_giant2(pretrain=False):
    model = Network(True)
    model.inference = lambda data: torch.zeros(1, device="cuda")
    return model


def metric3d_convnext_large(pretrain=False):
    try:
        import package_that_is_not_there.config
    except:
        raise RuntimeError("Failed to find function")


def metric3d_of_old(pretrain=False):
    from mmcv.utils import collect_env
'''


def hub_repository(folder: Path, dependencies: Sequence[str] = ("torch",)) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hubconf.py").write_text(f"dependencies = {list(dependencies)!r}\n{HUBCONF}")
    return str(folder)
