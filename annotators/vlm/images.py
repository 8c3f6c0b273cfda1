"""Chat messages with images. Both backends send the same pixels in the same order."""

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np

from ...shards.codecs import U8, decode_image
from .client import Request


def pixels(data: bytes, side: int) -> U8:
    """Decode to sRGB uint8 H x W x 3, shrunk so that the longer side is at most `side`. Raises CodecError."""
    rgb = decode_image(data)
    height, width = rgb.shape[:2]
    if max(height, width) <= side:
        return rgb
    ratio = side / max(height, width)
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def messages(request: Request, side: int, part: Callable[[U8], Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Chat messages of a request: the system's text, then the images in order and the question.

    Args:
        side: longer side of an image, pixels, at most.
        part: makes an image's content part from its pixels.

    Raises CodecError if an image cannot be decoded.
    """
    content = [dict(part(pixels(image, side))) for image in request.images]
    question = {"role": "user", "content": [*content, {"type": "text", "text": request.text}]}
    return [{"role": "system", "content": request.system}, question] if request.system else [question]
