"""Pictures of which not every code is there: while they are drawn, and where an output was cut."""

import numpy as np
import torch
from jaxtyping import Int
from PIL import Image
from torch import Tensor

from mmkit import MmkitError

GREY = 128
"""What stands for the places that have no code."""


def padded(codes: Int[Tensor, "frames 1"], grid: tuple[int, int]) -> Int[Tensor, " places"]:
    """The codes of a whole grid; 0 where one is missing.

    Raises:
        MmkitError: more codes than the grid has places.
    """
    places = grid[0] * grid[1]
    if len(codes) > places:
        raise MmkitError(f"a picture of this codec has {places} codes, got {len(codes)}")
    numbers = torch.zeros(places, dtype=torch.int64)
    numbers[: len(codes)] = codes[:, 0]
    return numbers


def unfinished(image: Image.Image, grid: tuple[int, int], given: int) -> Image.Image:
    """A picture, grey from the place on that has no code."""
    rows, columns = grid
    if given >= rows * columns:
        return image
    missing = (np.arange(rows * columns) >= given).reshape(rows, columns)
    pixels = np.array(image)
    pixels[missing.repeat(image.height // rows, 0).repeat(image.width // columns, 1)] = GREY
    return Image.fromarray(pixels)
