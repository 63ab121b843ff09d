"""What an image from anywhere states of its making."""

from typing import Any

from tellsign.modeling.image_loading import read_source

from .answer import Statement
from .statements import statements_in


def provenance(image: Any, timeout: float | None = 5.0) -> list[Statement]:
    """Reads what an image file states of its making. A file that states nothing proves nothing: most programs drop it.

    C2PA needs the package `c2pa-python` (extra `provenance`). Without it the claim of a file with a manifest is "not
    read". Nothing is fetched: no manifests that lie elsewhere, no lists of certificates. What is read is bounded in
    size.

    Args:
        image (`str`, `os.PathLike`, `bytes`, `PIL.Image.Image`, `dict`, ...): As [`~tellsign.load_image`] takes it. Of
            a Pillow image there is no C2PA manifest, which only the file holds; of arrays there is nothing.
        timeout (`float`, *optional*, defaults to 5): Seconds to wait at each step for an address.

    Returns:
        `list` of [`Statement`], C2PA first; empty if the file states nothing.

    Raises:
        ValueError: If the image cannot be opened, as for [`~tellsign.load_image`].

    Example:

    ```python
    >>> import tellsign

    >>> tellsign.provenance("examples/photo_cat.jpg")
    []
    ```
    """
    return statements_in(*read_source(image, timeout=timeout))
