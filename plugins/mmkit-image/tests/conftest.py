"""Pictures and weights that the tests share."""

from pathlib import Path

import matplotlib
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def photo_path() -> Path:
    """A photograph (Grace Hopper, 512 × 606, JPEG) that matplotlib ships."""
    return Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


@pytest.fixture
def photo(photo_path: Path) -> Image.Image:
    with Image.open(photo_path) as image:
        return image.convert("RGB")


@pytest.fixture
def photos(photo: Image.Image) -> list[Image.Image]:
    """Three pictures of different sides, cut from the photograph."""
    return [photo, photo.crop((100, 50, 420, 250)), photo.crop((200, 100, 290, 330))]
