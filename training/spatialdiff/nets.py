"""The networks that SpatialDiff adds to the base, and its two losses.

Invariant: the transformer stays an unchanged `FluxTransformer2DModel`, so its LoRA loads elsewhere. Spatial tokens are
added between its embedding and its blocks, and read after the blocks. `forward` depends only on its inputs: random
numbers, encodings and position ids are among them.

Shapes: B samples, N = H/16 * W/16 tokens of an image, C channels of a packed latent, d the transformer's width, l' and
d' number and width of the geometry encoder's tokens.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..flow import flow_loss


class CrossAttention(nn.Module):
    """One layer of the connector, eq. 4: softmax(Q K^T / sqrt(d)) V with Q = q W_Q, K = S W_K, V = S W_V.

    As usual in transformers, norms come first; W_O, the residual and an optional MLP follow. With several heads, the
    columns are split among them, and d is the width of one head.
    """

    def __init__(self, width: int, geometry_width: int, heads: int, feed_forward: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_q = nn.LayerNorm(width)
        self.norm_s = nn.LayerNorm(geometry_width)
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(geometry_width, width, bias=False)
        self.to_v = nn.Linear(geometry_width, width, bias=False)
        self.to_out = nn.Linear(width, width, bias=False)
        inner = feed_forward * width
        mlp = [nn.LayerNorm(width), nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width)] if inner else []
        self.mlp = nn.Sequential(*mlp)

    def forward(self, queries: Tensor, geometry: Tensor) -> Tensor:
        """queries (B, l, d) and geometry (B, l', d') to (B, l, d)."""
        normed = self.norm_s(geometry)
        q, k, v = (
            each.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for each in (self.to_q(self.norm_q(queries)), self.to_k(normed), self.to_v(normed))
        )
        queries = queries + self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return queries + self.mlp(queries) if len(self.mlp) else queries


class Connector(nn.Module):
    """Eq. 4-5: learnable queries (l, d) attend to the geometry tokens and give tokens of the transformer's width.

    Args:
        rows, columns: the grid of the l queries, one for each token of the image.
    """

    def __init__(
        self,
        *,
        rows: int,
        columns: int,
        width: int,
        geometry_width: int,
        layers: int = 8,
        heads: int = 1,
        feed_forward: int = 0,
    ) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns
        self.queries = nn.Parameter(torch.randn(rows * columns, width) * 0.02)
        self.layers = nn.ModuleList(CrossAttention(width, geometry_width, heads, feed_forward) for _ in range(layers))

    def forward(self, geometry: Tensor, rows: int, columns: int) -> Tensor:
        """(B, l', d') to (B, rows * columns, d), the tokens of an image of this grid."""
        queries = self._on_grid(rows, columns).expand(len(geometry), -1, -1)
        for layer in self.layers:
            queries = layer(queries, geometry)
        return queries

    def _on_grid(self, rows: int, columns: int) -> Tensor:
        """The queries (rows * columns, d), interpolated bilinearly if the grid is another one, as position embeddings
        of vision transformers are (Dosovitskiy et al. 2021, section 3.2)."""
        if (rows, columns) == (self.rows, self.columns):
            return self.queries
        grid = self.queries.T.unflatten(1, (self.rows, self.columns))[None]
        return F.interpolate(grid, (rows, columns), mode="bilinear", align_corners=False)[0].flatten(1).T


class SpatialDecodeHead(nn.Module):
    """D of eq. 8: each spatial token (B, N, d) after the transformer's blocks to the depth of its patch (B, N, C)."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(self.norm(tokens))


class SpatialDiffNet(nn.Module):
    """Transformer, connector and head, with the losses of eq. 9 and 10.

    Args:
        connector: None for LoRA only.
        head: None without depth supervision.
        depth_weight: lambda of eq. 10.
    """

    def __init__(
        self, transformer: Any, connector: Connector | None, head: SpatialDecodeHead | None, depth_weight: float
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.connector = connector
        self.head = head
        self.depth_weight = depth_weight

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Losses if the inputs hold the target `velocity`, else predictions.

        Args:
            inputs: `noisy` and `source` (B, N, C): packed latents of the noised target and of the source. `sigma`,
                `guidance` (B,). `text` (B, T, .), `pooled` (B, .). `image_ids` (2N or 3N, 3), `text_ids` (T, 3).
                With a connector, `geometry` (B, l', d') and `grid`, of which only the shape counts: (rows, columns) of
                the N tokens, known without waiting for the device. For losses, `velocity` (B, N, C), optional weights
                of its tokens `weight` (B, N, 1) and, with a head, `depth` (B, N, .).

        Returns:
            Losses (B,): `loss`, its part `flow` and, with a head, `depth` (L_GSS, unweighted). Predictions: `velocity`
            and, with a head, `depth`.
        """
        tokens = inputs["noisy"].shape[1]
        spatial = self.connector(inputs["geometry"], *inputs["grid"].shape) if self.connector is not None else None
        hidden, time = run_blocks(self.transformer, inputs, spatial)
        velocity = self.transformer.proj_out(self.transformer.norm_out(hidden[:, :tokens], time))
        depth = self.head(hidden[:, 2 * tokens :]) if self.head is not None else None
        if "velocity" not in inputs:
            return {"velocity": velocity} | ({} if depth is None else {"depth": depth})
        flow = flow_loss(velocity, inputs["velocity"], inputs.get("weight"))
        if depth is None:
            return {"loss": flow, "flow": flow}
        gss = flow_loss(depth, inputs["depth"])
        return {"loss": flow + self.depth_weight * gss, "flow": flow, "depth": gss}


def run_blocks(transformer: Any, inputs: Mapping[str, Tensor], spatial: Tensor | None) -> tuple[Tensor, Tensor]:
    """Eq. 6: all blocks over [target, source, spatial tokens] and the instruction.

    Same as `FluxTransformer2DModel.forward` up to its last norm, except that the spatial tokens (B, l, d) are appended
    to the image tokens after the embedding.

    Returns:
        The image and spatial tokens after the blocks (B, 2N + l, d), and the time embedding (B, d).
    """
    hidden = transformer.x_embedder(torch.cat([inputs["noisy"], inputs["source"]], 1))
    if spatial is not None:
        hidden = torch.cat([hidden, spatial.to(hidden.dtype)], 1)
    text = transformer.context_embedder(inputs["text"])
    scales = [inputs["sigma"].to(hidden.dtype) * 1000]
    if transformer.config.guidance_embeds:
        scales.append(inputs["guidance"].to(hidden.dtype) * 1000)
    time = transformer.time_text_embed(*scales, inputs["pooled"])
    rotary = transformer.pos_embed(torch.cat([inputs["text_ids"], inputs["image_ids"]]))
    checkpointing = transformer.gradient_checkpointing and torch.is_grad_enabled()
    for block in [*transformer.transformer_blocks, *transformer.single_transformer_blocks]:
        if checkpointing:
            text, hidden = transformer._gradient_checkpointing_func(block, hidden, text, time, rotary, None)
        else:
            text, hidden = block(hidden, text, time, rotary)
    return hidden, time


class TinyAggregator(nn.Module):
    """Replaces VGGT's aggregator in preset `tiny`: images (B, 1, 3, H, W) in [0, 1] to a list of tokens
    (B, 1, 5 + P, 2d)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 14, 14)
        self.special = nn.Parameter(torch.randn(5, width))
        self.mix = nn.TransformerEncoderLayer(width, 2, 2 * width, dropout=0.0, batch_first=True)

    def forward(self, images: Tensor) -> tuple[list[Tensor], int]:
        patches = self.patch(images.flatten(0, 1)).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.special.expand(len(patches), -1, -1), patches], 1)
        mixed = self.mix(tokens)
        return [torch.cat([tokens, mixed], -1).unflatten(0, images.shape[:2])], 5
