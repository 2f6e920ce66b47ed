"""Scores: what an autoregressive head learns from. Hidden states that can be scored without all scores existing."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from mmkit.cross_entropy import linear_cross_entropy, scored_cross_entropy
from mmkit.interfaces.backbone import Backbone
from mmkit.ragged import Ragged


@dataclass(frozen=True, eq=False)
class Scores(Ragged):
    """Hidden states of target positions, one row a target id, Float["targets hidden_dim"].

    Attributes:
        backbone: gives the scores.
        offset, size: where the task's vocabulary lies in the shared table, and its number of ids.
    """

    backbone: Backbone
    offset: int
    size: int

    def cross_entropy(self, targets: Ragged, label_smoothing: float = 0.0) -> Float[Tensor, ""]:
        """Cross-entropy summed over all target ids, Int["targets"], of the task's own vocabulary. Its memory does not
        depend on the size of the vocabulary.
        """
        place = slice(self.offset, self.offset + self.size)
        layer = self.backbone.output_layer()
        if layer is None:
            return scored_cross_entropy(
                lambda hidden: self.backbone.logits(hidden)[:, place], self.values, targets.values, label_smoothing
            )
        weight, bias = layer
        if len(weight) != self.size:
            weight, bias = weight[place], None if bias is None else bias[place]
        return linear_cross_entropy(self.values, weight, bias, targets.values, label_smoothing)

    def logits(self) -> Float[Tensor, "targets size"]:
        """All scores at once, for losses that need them; ``cross_entropy`` is the way that saves memory."""
        return self.backbone.logits(self.values)[:, self.offset : self.offset + self.size]
