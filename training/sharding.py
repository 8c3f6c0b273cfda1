"""FSDP2: a module sharded over the processes, and its full weights and optimizer state for checkpoints.

Invariant: sharded and unsharded runs write the same checkpoint, so a run can resume either way.
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn


def shard_module(module: "nn.Module", device: "torch.device", world: int) -> None:
    """Shard a module in place: each layer of its outermost `ModuleList`s separately, then the rest."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (world,))
    for layer in layers_of(module):
        if any(True for _ in layer.parameters()):
            fully_shard(layer, mesh=mesh)
    fully_shard(module, mesh=mesh)


def layers_of(module: "nn.Module") -> "Iterator[nn.Module]":
    """The layers of a module: the elements of its outermost `ModuleList`s."""
    from torch import nn

    for child in module.children():
        if isinstance(module, nn.ModuleList) and not isinstance(child, nn.ModuleList):
            yield child
        else:
            yield from layers_of(child)


@contextmanager
def no_gradient_sync(module: "nn.Module") -> Generator[None]:
    """Inside, backward passes do not reduce gradients across processes."""
    from torch.distributed.fsdp import FSDPModule

    assert isinstance(module, FSDPModule)
    module.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        module.set_requires_gradient_sync(True)


def full_tensors(values: "Iterable[torch.Tensor]") -> "list[torch.Tensor]":
    """The full tensor of each value, sharded or not. Collective: all processes must call it."""
    from torch.distributed.tensor import DTensor

    return [value.full_tensor() if isinstance(value, DTensor) else value for value in values]


def shard_like(values: "Iterable[torch.Tensor]", parameters: "Iterable[nn.Parameter]") -> "list[torch.Tensor]":
    """Full tensors, each sharded like its parameter. Collective: all processes must call it."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    return [
        distribute_tensor(value, like.device_mesh, like.placements) if isinstance(like, DTensor) else value
        for value, like in zip(values, parameters, strict=True)
    ]


def reshard(module: "nn.Module") -> None:
    """Free the full weights that a forward pass without a backward pass leaves in a sharded module."""
    from torch.distributed.fsdp import FSDPModule

    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


@contextmanager
def full_parameters(module: "nn.Module") -> Generator[None]:
    """Inside, every process holds all trainable weights unsharded. Collective: all processes must enter it. Changes
    made inside are discarded."""
    from torch import nn
    from torch.distributed.tensor import DTensor

    reshard(module)
    kept: list[tuple[dict[str, Any], str, Any]] = []
    for part in module.modules():
        places: dict[str, Any] = part._parameters  # pyright: ignore[reportPrivateUsage]
        for name, parameter in places.items():
            if isinstance(parameter, DTensor) and parameter.requires_grad:
                kept.append((places, name, parameter))
    for place, name, parameter in kept:
        place[name] = nn.Parameter(parameter.full_tensor().detach())
    try:
        yield
    finally:
        for place, name, parameter in kept:
            place[name] = parameter


@contextmanager
def unsharded_module(module: "nn.Module") -> Generator[None]:
    """Inside, submodules can be called outside the module's `forward`. All processes must call the same ones."""
    from torch.distributed.fsdp import FSDPModule

    assert isinstance(module, FSDPModule)
    module.unshard()
    try:
        yield
    finally:
        module.reshard()


def optimizer_state(module: "nn.Module", optimizer: "torch.optim.Optimizer") -> dict[str, Any]:
    """The full optimizer state, keyed by parameter names, on the CPU of the main process. Collective: all processes
    must call it.

    Args:
        module: the unwrapped module (no DDP wrapper).
    """
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict

    return get_optimizer_state_dict(module, optimizer, options=StateDictOptions(full_state_dict=True, cpu_offload=True))


def load_optimizer_state(module: "nn.Module", optimizer: "torch.optim.Optimizer", state: dict[str, Any]) -> None:
    """Load a state returned by `optimizer_state`. Every process passes the full state."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_optimizer_state_dict

    # An optimizer may add values to its groups in its first step.
    for group, saved in zip(optimizer.param_groups, state["param_groups"], strict=True):
        group |= {name: value for name, value in saved.items() if name not in group}
    # Parameters that never had a gradient have no state. torch initializes one for them, which is removed here.
    options = StateDictOptions(full_state_dict=True, strict=False)
    set_optimizer_state_dict(module, optimizer, state, options=options)
    for name, parameter in module.named_parameters():
        if name not in state["state"]:
            optimizer.state.pop(parameter, None)
