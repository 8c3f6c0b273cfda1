"""A faster SAM 2 mask decoder for many point prompts on one image, with the same output.

Invariant: logits and predicted IoUs are those of `Sam2Model` with `multimask_output=True`, up to rounding, whatever the
number of prompts decoded at once. It uses the modules and weights that transformers loads, and saves work as follows:

- Up to the end of the first layer, image tokens are the same for all prompts: they are projected once per image.
- In both cross attentions, one side has only a few tokens. Folding its heads into the other side's projection,
  (X W_q) K^T = X (W_q K^T) and (A X) W_v = A (X W_v), halves the products over image tokens.
- The last attention computes only the tokens that are read, and masks are upscaled only for prompts with a predicted
  IoU above the threshold.
- A transposed 2 x 2 convolution with stride 2 is one product over channels; pixels stay in blocks until the end.

Shapes: P prompts, T tokens per prompt, N = h w image tokens, C channels, H heads of E channels in an attention.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SharedTokens:
    """Tensors that all prompts on one image share."""

    keys: "Tensor"
    """(N, C): the image embedding plus the dense prompt."""
    positions: "Tensor"
    """(N, C)"""
    first_keys: "Tensor"
    """(1, H, N, E), for the first layer's attention from tokens to the image."""
    first_values: "Tensor"
    first_queries: "Tensor"
    """(1, H, E, N), for the first layer's attention from the image to tokens."""
    middle: "Tensor"
    """(N, 4, C / 4): features at twice the resolution, in blocks of 2 x 2."""
    fine: "Tensor"
    """(N, 4, 4, C / 8): features at four times the resolution, in nested blocks of 2 x 2."""
    side: tuple[int, int]
    """h and w."""


class PointDecoder:
    """Decodes points with the weights of a `transformers.Sam2Model`."""

    def __init__(self, model: Any) -> None:
        import torch

        decoder = model.mask_decoder
        self._decoder = decoder
        # Indices of the output tokens that are read, in (object score, IoU, masks, point, padding).
        self._read = [1, *range(3, 2 + decoder.num_mask_tokens)]
        self._outputs = torch.cat(
            [decoder.obj_score_token.weight, decoder.iou_token.weight, decoder.mask_tokens.weight]
        )
        self.upscaling = torch.nn.ModuleList(map(_blocks_of, (decoder.upscale_conv1, decoder.upscale_conv2)))

    def share(self, features: "list[Tensor]", positions: "Tensor", dense: "Tensor") -> SharedTokens:
        """Compute the tensors that all prompts on one image share.

        Args:
            features: output of `Sam2Model.get_image_embeddings` for one image: (1, C / 8, 4 h, 4 w),
                (1, C / 4, 2 h, 2 w), (1, C, h, w).
            positions: (1, C, h, w), from `get_image_wide_positional_embeddings`.
            dense: (1, C, h, w), the prompt encoder's embedding for "no mask".
        """
        fine, middle, image = features
        h, w = image.shape[-2:]
        keys = (image + dense).to(image.dtype)[0].flatten(1).T.contiguous()
        places = positions.to(image.dtype)[0].flatten(1).T.contiguous()
        first = self._decoder.transformer.layers[0]
        attention, back = first.cross_attn_token_to_image, first.cross_attn_image_to_token
        middle = middle.view(-1, h, 2, w, 2).permute(1, 3, 2, 4, 0).reshape(h * w, 4, -1)
        fine = fine.view(-1, h, 2, 2, w, 2, 2).permute(1, 4, 2, 5, 3, 6, 0).reshape(h * w, 4, 4, -1)
        return SharedTokens(
            keys=keys,
            positions=places,
            first_keys=_heads(attention, attention.k_proj(keys + places)[None]).transpose(1, 2),
            first_values=_heads(attention, attention.v_proj(keys)[None]).transpose(1, 2),
            first_queries=_heads(back, back.q_proj(keys + places)).permute(1, 2, 0)[None].contiguous(),
            middle=(middle + self._decoder.upscale_conv1.bias).to(image.dtype),
            fine=(fine + self._decoder.upscale_conv2.bias).to(image.dtype),
            side=(h, w),
        )

    def __call__(self, image: SharedTokens, prompts: "Tensor", threshold: float) -> "tuple[Tensor, Tensor]":
        """Decode the masks whose predicted IoU exceeds `threshold`, ordered by prompt, then as the model orders them.

        Args:
            prompts: (P, 2, C) float32, the prompt encoder's tokens for P points.

        Returns:
            Logits (K, 4 h, 4 w) in the precision of the features, predicted IoUs (K,) float32.
        """
        import torch

        tokens, keys = self._transform(image, torch.cat([self._outputs.expand(len(prompts), -1, -1), prompts], dim=1))
        ious = self._decoder.iou_prediction_head(tokens[:, 0]).float()[:, 1:]
        wanted = ious > threshold
        prompts_kept = wanted.any(dim=1)
        logits = self._masks(image, tokens[prompts_kept, 1:], keys[prompts_kept])
        return logits[wanted[prompts_kept]], ious[wanted]

    def _transform(self, image: SharedTokens, start: "Tensor") -> "tuple[Tensor, Tensor]":
        """Run the two-way transformer on tokens (P, T, C).

        Returns the tokens that are read (P, M + 1, C) and the image tokens (P, N, C).
        """
        transformer = self._decoder.transformer
        tokens, keys, placed = start, image.keys, image.positions
        for index, layer in enumerate(transformer.layers):
            tokens = layer.layer_norm1(_self_attention(layer, tokens, start))
            attention = layer.cross_attn_token_to_image
            if index == 0:
                seen = _to_shared_image(attention, tokens + start, image)
            else:
                seen = _to_image(attention, tokens + start, placed, keys)
            tokens = layer.layer_norm2(tokens + seen)
            tokens = layer.layer_norm3(tokens + layer.mlp(tokens))
            attention = layer.cross_attn_image_to_token
            if index == 0:
                scores = _shared_scores(attention, image.first_queries, tokens + start)
            else:
                scores = _scores(attention, placed, tokens + start)
            seen = _from_tokens(attention, scores, tokens)
            keys = layer.layer_norm4(seen.add_(keys)).to(image.keys.dtype)
            placed = keys + image.positions
        tokens, start = tokens[:, self._read], start[:, self._read]
        seen = _to_image(transformer.final_attn_token_to_image, tokens + start, placed, keys)
        return transformer.layer_norm_final_attn(tokens + seen), keys

    def _masks(self, image: SharedTokens, tokens: "Tensor", keys: "Tensor") -> "Tensor":
        """Logits (P, M, 4 h, 4 w) from mask tokens (P, M, C) and image tokens (P, N, C)."""
        import torch
        from torch.nn import functional

        (up, up_again), norm = self.upscaling, self._decoder.upscale_layer_norm
        heads = self._decoder.output_hypernetworks_mlps[1:]
        weights = torch.stack([head(tokens[:, index]) for index, head in enumerate(heads)], dim=-1)
        pixels = up(keys).unflatten(-1, image.middle.shape[1:]).add_(image.middle)
        # The module itself expects channels first. Autocast gives float32 here, hence the cast: it halves the memory.
        pixels = functional.layer_norm(pixels, norm.normalized_shape, norm.weight, norm.bias, norm.eps).to(keys.dtype)
        pixels = up_again(functional.gelu(pixels)).unflatten(-1, image.fine.shape[2:]).add_(image.fine)
        logits = torch.matmul(functional.gelu(pixels).flatten(1, -2), weights)
        # Two levels of blocks: (P, y, x, y, x, y, x, M) -> (P, M, y y y, x x x)
        (h, w), count = image.side, weights.shape[-1]
        blocks = logits.view(-1, h, w, 2, 2, 2, 2, count).permute(0, 7, 1, 3, 5, 2, 4, 6)
        return blocks.reshape(-1, count, 4 * h, 4 * w)


def _blocks_of(convolution: Any) -> Any:
    """A transposed 2 x 2 convolution with stride 2 as a linear layer, (.., in) -> (.., 4 out), without its bias."""
    import torch

    weight = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, device=weight.device)
    linear.weight = torch.nn.Parameter(weight.contiguous(), requires_grad=False)
    return linear


def _heads(attention: Any, values: "Tensor") -> "Tensor":
    """(.., H E) -> (.., H, E)"""
    return values.unflatten(-1, (attention.num_attention_heads, attention.head_dim))


def _self_attention(layer: Any, tokens: "Tensor", start: "Tensor") -> "Tensor":
    """Self-attention of (P, T, C). In the first layer, it has neither positions nor a residual."""
    if layer.skip_first_layer_pe:
        return layer.self_attn(query=tokens[None], key=tokens[None], value=tokens[None])[0][0]
    query = (tokens + start)[None]
    return tokens + layer.self_attn(query=query, key=query, value=tokens[None])[0][0]


def _to_shared_image(attention: Any, query: "Tensor", image: SharedTokens) -> "Tensor":
    """Attention of (P, T, C) to tokens that all prompts share: the tokens of all prompts form one long query."""
    from torch.nn.functional import scaled_dot_product_attention

    queries = _heads(attention, attention.q_proj(query).flatten(0, 1))[None].transpose(1, 2)
    seen = scaled_dot_product_attention(queries, image.first_keys, image.first_values, scale=attention.scaling)
    return attention.o_proj(seen.transpose(1, 2).flatten(2)).view(query.shape)


def _to_image(attention: Any, query: "Tensor", placed: "Tensor", keys: "Tensor") -> "Tensor":
    """Attention of (P, T, C) to each prompt's own image tokens (P, N, C).

    The bias of the keys adds a constant to all scores of a query, which softmax ignores. Weights sum to one, so the
    bias of the values can be added last.
    """
    import torch

    queries = _heads(attention, attention.q_proj(query)) * attention.scaling
    key_weight = attention.k_proj.weight.unflatten(0, (-1, attention.head_dim))
    value_weight = attention.v_proj.weight.unflatten(0, (-1, attention.head_dim))
    folded = torch.einsum("pthe,hec->phtc", queries, key_weight).flatten(1, 2)
    weights = torch.matmul(folded, placed.transpose(1, 2)).softmax(dim=-1)
    means = torch.matmul(weights.to(keys.dtype), keys).unflatten(1, (len(key_weight), -1))
    values = torch.einsum("phtc,hec->pthe", means, value_weight).flatten(2)
    return attention.o_proj(values + attention.v_proj.bias)


def _scores(attention: Any, placed: "Tensor", key: "Tensor") -> "Tensor":
    """Scores (P, H, T, N), before softmax, of each prompt's own image tokens (P, N, C) for its tokens (P, T, C)."""
    import torch

    keys = _heads(attention, attention.k_proj(key)) * attention.scaling
    weight = attention.q_proj.weight.unflatten(0, (-1, attention.head_dim))
    bias = torch.einsum("pthe,he->pht", keys, attention.q_proj.bias.view(-1, attention.head_dim)).flatten(1)
    folded = torch.einsum("pthe,hec->phtc", keys, weight).flatten(1, 2)
    scores = torch.baddbmm(bias[..., None].to(folded.dtype), folded, placed.transpose(1, 2))
    return scores.unflatten(1, (len(weight), -1))


def _shared_scores(attention: Any, queries: "Tensor", key: "Tensor") -> "Tensor":
    """The same for image tokens that all prompts share, whose queries (1, H, E, N) are given."""
    import torch

    keys = _heads(attention, attention.k_proj(key)) * attention.scaling
    return torch.matmul(keys.transpose(1, 2), queries)


def _from_tokens(attention: Any, scores: "Tensor", value: "Tensor") -> "Tensor":
    """Attention output (P, N, C) of image tokens, from scores (P, H, T, N) and tokens (P, T, C).

    Softmax runs over T with N innermost: it is several times slower over eight contiguous numbers.
    """
    import torch

    values = _heads(attention, attention.v_proj(value))
    weight = attention.o_proj.weight.unflatten(1, (-1, attention.head_dim))
    folded = torch.einsum("pthe,che->phtc", values, weight).flatten(1, 2)
    weights = scores.softmax(dim=2).flatten(1, 2).transpose(1, 2).to(folded.dtype)
    return torch.baddbmm(attention.o_proj.bias.to(folded.dtype), weights, folded)
