"""A Qwen3-VL checkpoint of half a million random weights: the real architecture, processor and tokenizer classes."""

from pathlib import Path

from transformers import (
    GenerationConfig,
    Qwen2Tokenizer,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    set_seed,
)

PATCH, MERGE = 16, 2
START, END, PAD = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
VISION = {name: f"<|{name}|>" for name in ("vision_start", "vision_end", "image_pad", "video_pad")}
LENGTH = 8192

CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'text' %}{{ part.text }}"
    "{% else %}<|vision_start|><|image_pad|><|vision_end|>{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make(folder: Path) -> None:
    """Save model, processor and tokenizer: every byte is a token, so any text can be read and any answer written."""
    tokenizer = _tokenizer()
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in VISION.items()}
    stop, pad = tokenizer.convert_tokens_to_ids([END, PAD])
    set_seed(0)
    model = Qwen3VLForConditionalGeneration(
        Qwen3VLConfig(
            text_config=_text(len(tokenizer), stop, pad),
            vision_config=_vision(),
            image_token_id=ids["image_pad"],
            video_token_id=ids["video_pad"],
            vision_start_token_id=ids["vision_start"],
            vision_end_token_id=ids["vision_end"],
            tie_word_embeddings=True,
        )
    )
    model.generation_config = GenerationConfig(eos_token_id=stop, pad_token_id=pad, do_sample=True, top_p=0.95)
    model.bfloat16().save_pretrained(folder)
    images = Qwen2VLImageProcessorPil(
        patch_size=PATCH, merge_size=MERGE, size={"shortest_edge": 32 * 32, "longest_edge": 128 * 128}
    )
    Qwen3VLProcessor(images, tokenizer, Qwen3VLVideoProcessor(), chat_template=CHAT).save_pretrained(folder)


def _tokenizer() -> Qwen2Tokenizer:
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    # GPT-2's byte alphabet: printable bytes stand for themselves, the others follow from U+0100 on.
    others = [chr(256 + rank) for rank in range(256 - len(printable))]
    alphabet = [chr(code) for code in printable] + others
    vocabulary = {letter: rank for rank, letter in enumerate(alphabet)}
    special = [START, END, *VISION.values()]
    return Qwen2Tokenizer(
        vocab=vocabulary, merges=[], unk_token=None, eos_token=END, pad_token=PAD, additional_special_tokens=special
    )


def _text(vocabulary: int, stop: int, pad: int) -> dict[str, object]:
    sections = {"rope_type": "default", "rope_theta": 5e5, "mrope_section": [6, 5, 5], "mrope_interleaved": True}
    return {
        "vocab_size": -(-vocabulary // 16) * 16,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "max_position_embeddings": LENGTH,
        "tie_word_embeddings": True,
        "rope_parameters": sections,
        "bos_token_id": pad,
        "eos_token_id": stop,
        "pad_token_id": pad,
    }


def _vision() -> dict[str, object]:
    return {
        "depth": 3,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_heads": 2,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": 2,
        "out_hidden_size": 64,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0, 1],
    }
