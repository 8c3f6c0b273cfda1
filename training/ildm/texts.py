"""The text encoders of the supported bases, as their own pipelines in diffusers use them.

Invariant: the embedding of a text depends on that text only. The empty text is the unconditional one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..caches import Tensors

if TYPE_CHECKING:
    import torch
    from torch import nn

T5_TOKENS: Final = {"PixArtAlphaPipeline": 120, "PixArtSigmaPipeline": 300}
"""Tokens of a text: the defaults of these pipelines of diffusers."""


class Parts(Protocol):
    """The models of a base; see `training.ildm.models.Base`."""

    @property
    def name(self) -> str: ...

    @property
    def folder(self) -> Path: ...

    def part(self, kind: type[Any], name: str, dtype: "torch.dtype | None" = None) -> Any: ...


class TextModel(Protocol):
    """A text encoder with its tokenizer."""

    @property
    def module(self) -> "nn.Module": ...

    @property
    def transform(self) -> str:
        """What determines an embedding, besides weights and text: the key of a cache."""
        ...

    def embed(self, texts: Sequence[str]) -> Tensors:
        """The conditions of n texts by name, (n, ...) each; see `training.ildm.backbones`."""
        ...


@dataclass(frozen=True)
class ClipText:
    """CLIP, as in Stable Diffusion: `context` (n, tokens, width), the last hidden states."""

    module: "nn.Module"
    tokenizer: Any

    @property
    def transform(self) -> str:
        return _described(self.tokenizer, self.tokenizer.model_max_length)

    def embed(self, texts: Sequence[str]) -> Tensors:
        tokens = _tokens(self.tokenizer, texts, self.tokenizer.model_max_length)
        return {"context": self.module(tokens.input_ids.to(device_of(self.module)))[0]}


@dataclass(frozen=True)
class TwoClipTexts:
    """The two CLIP models of SDXL: `context` (n, tokens, width), the penultimate hidden states of both, concatenated;
    `pooled` (n, width), the projected embedding of the second.

    Args:
        module: a ModuleList of both.
        zero_empty: the empty text has embeddings of 0 (`force_zeros_for_empty_prompt` of the base's pipeline).
    """

    module: "nn.ModuleList"
    tokenizers: tuple[Any, Any]
    zero_empty: bool

    @property
    def transform(self) -> str:
        both = ", ".join(_described(each, each.model_max_length) for each in self.tokenizers)
        return f"{both}, penultimate, {'zeros' if self.zero_empty else 'encoded'} if empty"

    def embed(self, texts: Sequence[str]) -> Tensors:
        import torch

        device = device_of(self.module)
        outputs: list[Any] = []
        for model, tokenizer in zip(self.module, self.tokenizers, strict=True):
            tokens = _tokens(tokenizer, texts, tokenizer.model_max_length)
            outputs.append(model(tokens.input_ids.to(device), output_hidden_states=True))
        context = torch.cat([each.hidden_states[-2] for each in outputs], dim=-1)
        pooled = outputs[-1].text_embeds
        if self.zero_empty:
            keep = torch.tensor([bool(text) for text in texts], device=device)
            context, pooled = context * keep[:, None, None], pooled * keep[:, None]
        return {"context": context, "pooled": pooled}


@dataclass(frozen=True)
class T5Text:
    """T5, as in PixArt: `context` (n, tokens, width), the last hidden states; `mask` (n, tokens), 1 for tokens of the
    text and 0 for padding. Texts are stripped and in lower case, as PixArt was trained."""

    module: "nn.Module"
    tokenizer: Any
    tokens: int

    @property
    def transform(self) -> str:
        return f"{_described(self.tokenizer, self.tokens)}, lower case"

    def embed(self, texts: Sequence[str]) -> Tensors:
        found = _tokens(self.tokenizer, [text.lower().strip() for text in texts], self.tokens)
        device = device_of(self.module)
        ids, mask = found.input_ids.to(device), found.attention_mask.to(device)
        return {"context": self.module(ids, attention_mask=mask)[0], "mask": mask}


def device_of(module: "nn.Module") -> "torch.device":
    return next(module.parameters()).device


def _tokens(tokenizer: Any, texts: Sequence[str], length: int) -> Any:
    return tokenizer(list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt")


def _described(tokenizer: Any, length: int) -> str:
    return f"{type(tokenizer).__name__}, {len(tokenizer)} words, padded to {length}"
