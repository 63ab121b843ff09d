"""What an image from anywhere states of its making."""

from typing import Any

from tellsign.modeling.image_files import stored_image
from tellsign.modeling.image_loading import read_source

from .answer import Statement
from .statements import statements_in
from .watermark import watermarks_in


def provenance(image: Any, timeout: float | None = 5.0) -> list[Statement]:
    """Reads what an image file states of its making, and a watermark in its pixels.

    A file that states nothing proves nothing: most programs drop it. Of a file with damaged pixels the rest is read.

    C2PA needs the package `c2pa-python` (extra `provenance`). Without it the claim of a file with a manifest is "not
    read". Nothing is fetched: no manifests that lie elsewhere, no lists of certificates. What is read is bounded in
    size.

    Args:
        image (`str`, `os.PathLike`, `bytes`, `PIL.Image.Image`, `dict`, ...): As [`~tellsign.load_image`] takes it. Of
            a Pillow image there is no C2PA manifest, which only the file holds; of arrays there is a watermark alone.
        timeout (`float`, *optional*, defaults to 5): Seconds to wait at each step for an address.

    Returns:
        `list` of [`Statement`], C2PA first, a watermark last; empty if the file states nothing.

    Raises:
        ValueError: If the image cannot be opened, as for [`~tellsign.load_image`].

    Example:

    ```python
    >>> import tellsign

    >>> tellsign.provenance("examples/photo_cat.jpg")
    []
    ```
    """
    content, name = read_source(image, timeout=timeout)
    stated = statements_in(content, name)
    try:
        return [*stated, *watermarks_in(stored_image(content, name))]
    except ValueError:  # the pixels are damaged
        return stated
