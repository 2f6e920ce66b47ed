"""What ``generate`` of transformers carries from step to step: a backbone's own decoding state."""

from typing import Any

from torch import Tensor

from mmkit.interfaces import DecodingState


class StepCache:
    """A state with the number of tokens that it has read.

    Attributes:
        is_compileable: False, for transformers.
    """

    is_compileable = False

    def __init__(self, state: DecodingState, length: int) -> None:
        self.state, self.length = state, length

    def get_seq_length(self, *_: Any) -> int:
        """Tokens read, padding included."""
        return self.length

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Select rows."""
        self.state = self.state.reorder(beam_idx)
