"""The list of the pictures that the network for large ones learned from: where they lie, and what is known of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import imagehash
from PIL import Image


PICTURE_LIST = Path(__file__).with_name("sources.parquet")
"""The list, made by `list_pictures`. It holds no pictures."""
MOST_ELONGATED = 1.5
"""Ratio of the sides to which the pictures of the sets are cut, in the middle."""
MOST_CHANGED = 12
"""Bits of a hash of 128 that may differ in the same picture."""


def source_of(row: Mapping[str, Any]) -> str:
    """The address of a picture as data sets name it, `REPOSITORY@COMMIT:PATH`."""
    return f"{row['repository']}{'@' * bool(row['commit'])}{row['commit'] or ''}:{row['path']}"


def picture_hash(image: Image.Image) -> str:
    """Difference hashes of the middle of a picture along both axes, 128 bits as 32 hexadecimal digits.

    Reductions and encodings change few of them, at most `MOST_CHANGED` as a rule. Others have another picture's.
    """
    width, height = (min(side, round(MOST_ELONGATED * min(image.size))) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    middle = image.crop((left, top, left + width, top + height))
    return f"{imagehash.dhash(middle)}{imagehash.dhash_vertical(middle)}"
