"""A small real recipe: a convolutional network that learns flow matching from source to target images at 24 x 24.

As a program it trains, for tests that kill a run or use several processes:
`python -m tests.training.linear SHARDS OUT K=V`.
"""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.options import Options
from spatialdata_builder.training import flow
from spatialdata_builder.training.config import load_config
from spatialdata_builder.training.loop import Summary, train
from spatialdata_builder.training.recipe import Batch, Inputs, StepRng


class LinearOptions(Options):
    width: int = Field(default=8, ge=1)
    depth: int = Field(default=0, description="further layers")
    dropout: float = 0.0
    fault: Literal["none", "loss", "gradient", "memory"] = "none"
    fault_key: str = Field(default="", description="key of the sample at which the fault occurs")


class Layer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 1)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden + functional.silu(self.conv(hidden))


class Net(nn.Module):
    def __init__(self, options: LinearOptions) -> None:
        super().__init__()
        self.first = nn.Conv2d(7, options.width, 3, padding=1)
        self.dropout = nn.Dropout(options.dropout)
        self.layers = nn.ModuleList(Layer(options.width) for _ in range(options.depth))
        self.second = nn.Conv2d(options.width, 3, 1)
        self.idle = nn.Linear(2, 2)
        """Trainable, but never has a gradient."""
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)
        self.options = options

    def velocity(self, x_t: torch.Tensor, source: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        times = t.view(-1, 1, 1, 1).expand(-1, 1, *x_t.shape[2:])
        hidden = self.dropout(functional.silu(self.first(torch.cat([x_t, source, times], 1))))
        for layer in self.layers:
            hidden = layer(hidden)
        return self.second(hidden)

    def forward(self, inputs: Inputs) -> dict[str, torch.Tensor]:
        v = self.velocity(inputs["x_t"], inputs["source"], inputs["t"])
        loss = flow.flow_loss(v, inputs["v"])
        if inputs["bad"].any():
            if self.options.fault == "memory":
                torch.empty(1 << 60)
            # The slope of sqrt at 0 is not finite: the loss stays finite, its gradient does not.
            loss = (
                loss * float("nan")
                if self.options.fault == "loss"
                else loss + (self.second.bias * 0).abs().sqrt().sum()
            )
        return {"loss": loss, "size": v.detach().square().flatten(1).mean(1)}


class Linear:
    name: ClassVar[str] = "linear"
    shards: ClassVar[str] = "spatialdiff"
    options_type: ClassVar[type[LinearOptions]] = LinearOptions
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"lr": 1e-2, "batch_size": 2, "precision": "no", "log": "none", "validate_every": 0, "warmup": 2},
        "tiny": {"steps": 3, "recipe": {"width": 4}},
    }
    find_unused_parameters: ClassVar[bool] = True
    memory_knobs: ClassVar[tuple[str, ...]] = ("recipe.width",)

    def __init__(self, options: LinearOptions) -> None:
        self.options = options

    @classmethod
    def models(cls, options: LinearOptions) -> tuple[str, ...]:
        return ("somebody/linear-base",)

    @property
    def stream_options(self) -> Mapping[str, Any]:
        return {"images": "float"}

    def build(self, device: torch.device, dtype: torch.dtype) -> nn.Module:
        self.device = device
        return Net(self.options)

    def prepare(self, batch: Batch, rng: StepRng) -> Inputs:
        source, target = (torch.from_numpy(batch[name]).permute(0, 3, 1, 2) for name in ("source", "target"))
        noise, t = rng.normal(target.shape[1:]), flow.draw_times(rng)
        bad = torch.tensor([self.options.fault != "none" and key == self.options.fault_key for key in batch["key"]])
        x_t, v = flow.interpolate(target, noise, t), flow.velocity(target, noise)
        inputs = {"x_t": x_t, "v": v, "t": t, "source": source, "bad": bad}
        return {name: value.to(self.device) for name, value in inputs.items()}

    def save(self, module: nn.Module, folder: Path) -> None:
        (folder / "begun").touch()
        if folder.parent.name == os.environ.get("KILL_IN", ""):
            os.kill(os.getpid(), signal.SIGKILL)
        save_file(
            {name: value for name, value in module.state_dict().items() if name != "frozen"}, folder / "net.safetensors"
        )

    def load(self, module: nn.Module, folder: Path) -> None:
        if not (folder / "net.safetensors").is_file():
            raise BadInput(f"{folder} is not a checkpoint of linear")
        module.load_state_dict(load_file(folder / "net.safetensors"), strict=False)

    def sample(self, module: nn.Module, batch: Batch, seed: int) -> Mapping[str, Any]:
        source = torch.from_numpy(batch["source"]).permute(0, 3, 1, 2).to(self.device)
        noise = StepRng(seed, 0, tuple(batch["key"])).normal(source.shape[1:]).to(self.device)
        v = module.velocity(noise, source, torch.ones(len(source), device=self.device))
        denoised = flow.denoised(noise, v, torch.ones(len(source), device=self.device))
        image = ((denoised.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1)
        return {"prediction": image.cpu().numpy()}


class Stopped(Exception):
    pass


def run(shards: str | Path, out: Path, *overrides: str, stop_after: int = 0, kill_after: int = 0) -> Summary:
    """Train. After step `kill_after` this process kills itself; after step `stop_after` it raises Stopped."""
    torch.set_num_threads(1)
    config = load_config(Linear, overrides=overrides)

    def on_step(values: Mapping[str, float]) -> None:
        if values["step"] == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)
        if values["step"] == stop_after:
            raise Stopped

    return train(Linear(LinearOptions(**config.recipe)), config, str(shards), out, on_step)


if __name__ == "__main__":
    kill = int(os.environ.get("KILL_AFTER", "0"))
    run(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:], kill_after=kill)
