"""Several views of one image, whose verdicts are compared."""

import numpy as np
import torch


def view_boxes(width: int, height: int, views: int, smallest: int) -> list[tuple[int, int, int, int]]:
    """The whole image, then parts of it that spread over all places and scales.

    The parts have the aspect ratio of the image. Place and logarithm of the scale come from a Sobol sequence, so they
    are the same at every call, and more views add parts to those of fewer.

    Args:
        width, height (`int`): Size of the image in pixels.
        views (`int`): Number of boxes.
        smallest (`int`): Shorter side of the smallest part in pixels. An image that is not larger has only one view.

    Returns:
        `list` of left, top, right and bottom in pixels, `views` of them or one.
    """
    whole = (0, 0, width, height)
    shorter = min(width, height)
    if shorter <= smallest:
        return [whole]
    boxes = [whole]
    points = torch.quasirandom.SobolEngine(3).fast_forward(1).draw(views - 1).tolist()  # the first is the origin
    for across, down, scale in points:
        factor = float(np.exp(scale * np.log(smallest / shorter)))
        part_width, part_height = round(factor * width), round(factor * height)
        left, top = round(across * (width - part_width)), round(down * (height - part_height))
        boxes.append((left, top, left + part_width, top + part_height))
    return boxes


__all__ = ["view_boxes"]
