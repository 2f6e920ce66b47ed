"""What the encoders of this plugin share: the shape of their features is measured once, on the meta device."""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from mmkit import Batch, Encoder, MmkitError, PluginError, Ragged
from mmkit_image.processor import ImageProcessor


class ImageEncoder(Encoder):
    """Square pictures of one size → as many rows for each; sub-classes give ``rows`` and call ``measure``.

    Attributes:
        feature_dim: width of a row.
    """

    def __init__(self, processor: ImageProcessor) -> None:
        super().__init__()
        self.prepared = processor

    @abstractmethod
    def rows(self, pixels: Float[Tensor, "items channels side side"]) -> Float[Tensor, "items rows dim"]:
        """Feature rows of normalised pictures, row by row of the map from the top left."""

    def augmented(
        self, pixels: Float[Tensor, "items channels side side"], chances: Float[Tensor, "items chances"]
    ) -> Float[Tensor, "items channels side side"]:
        """The pictures of a training batch, changed by the random numbers that each brings along."""
        return pixels

    def measure(self) -> None:
        """Find the number of rows and their width, computing nothing; ends the constructor of a sub-class."""
        shape = measure(self, (1, len(self.prepared.mean), self.prepared.image_size, self.prepared.image_size))
        self.prepared = self.prepared.with_rows(shape.rows)
        self.feature_dim = shape.dim

    def processor(self) -> ImageProcessor:
        """Decodes, makes square, normalises."""
        return self.prepared

    def forward(self, batch: Batch) -> Ragged:
        """Float["total feature_dim"], the same number of rows for every picture of ``batch["pixels"]``."""
        pixels = batch["pixels"]
        assert isinstance(pixels, Tensor)
        if self.training and "chances" in batch:
            chances = batch["chances"]
            assert isinstance(chances, Tensor)
            pixels = self.augmented(pixels, chances)
        rows = self.rows(pixels.to(next(self.parameters()).dtype))
        return Ragged.equal(rows)


@dataclass(frozen=True)
class Measured:
    """Feature rows of one picture, and their width."""

    rows: int
    dim: int


def measure(encoder: nn.Module, shape: tuple[int, ...]) -> Measured:
    """Run an encoder with stand-ins on the meta device for its weights and its picture.

    Raises:
        PluginError: it cannot run on a picture of this shape.
    """
    tensors = {**dict(encoder.named_parameters()), **dict(encoder.named_buffers())}
    stand_ins = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}
    training = encoder.training
    encoder.eval()
    try:
        with torch.no_grad():
            pixels = torch.empty(shape, device="meta")
            given = functional_call(encoder, stand_ins, ({"pixels": pixels},))
    except MmkitError:
        raise
    except Exception as error:
        side = f"{shape[-1]} × {shape[-1]}"
        message = f"the encoder cannot take pictures of {side} pixels ({type(error).__name__}: {error})"
        raise PluginError(f"{message}; give another image_size") from None
    finally:
        encoder.train(training)
    return Measured(given.sizes[0], int(given.values.shape[1]))
