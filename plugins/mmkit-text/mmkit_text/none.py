"""No backbone: tokens pass through, for heads that read the stream itself."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from mmkit import Backbone, BuildContext, Ragged


class PassThrough(Backbone):
    """The stream as it is; ids through a table."""

    def __init__(self, rows: int, dim: int) -> None:
        super().__init__()
        self.token_dim = self.hidden_dim = dim
        self.table = nn.Embedding(max(rows, 1), dim)

    def embed(self, ids: Int[Tensor, " n"]) -> Float[Tensor, "n token_dim"]:
        """Rows of the table."""
        return self.table(ids)

    def forward(self, prompt: Ragged, target: Ragged | None = None) -> Ragged:
        """The prompt."""
        if target is not None:
            raise TypeError("the backbone 'none' does not generate")
        return prompt


def build(context: BuildContext, *, dim: int) -> PassThrough:
    """A table and nothing else."""
    return PassThrough(context.vocabulary_size, dim)
