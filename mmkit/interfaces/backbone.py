"""Backbone: stream of tokens → hidden states."""

from abc import ABC, abstractmethod

from jaxtyping import Float, Int
from torch import Tensor, nn

from mmkit.ragged import Ragged


class DecodingState(ABC):
    """What a backbone remembers between the steps of a decoding loop (key-value cache, LSTM state …)."""

    @abstractmethod
    def reorder(self, items: Int[Tensor, " beams"]) -> "DecodingState":
        """The state with its items selected, repeated or reordered (beam search)."""


class Backbone(nn.Module, ABC):
    """Turns the tokens of each sample into hidden states, samples never seeing each other.

    Attributes:
        token_dim: width of the tokens it reads.
        hidden_dim: width of the hidden states it gives.
        generates: whether ``forward`` takes targets and ``prefill``/``step``/``logits`` work.
    """

    token_dim: int
    hidden_dim: int
    generates: bool = False

    @abstractmethod
    def embed(self, ids: Int[Tensor, " n"]) -> Float[Tensor, "n token_dim"]:
        """Embed ids of the shared vocabulary."""

    @abstractmethod
    def forward(self, prompt: Ragged, target: Ragged | None = None) -> Ragged:
        """Hidden states, Float["total hidden_dim"].

        Without ``target``: of every prompt token. With ``target`` (embedded begin token and all target tokens
        but the last, one item per item of the prompt): of every target position, each computed from the whole
        prompt and the target tokens up to and including itself, never from a later one.
        """

    def logits(self, hidden: Float[Tensor, "n hidden_dim"]) -> Float[Tensor, "n vocabulary"]:
        """Scores over the shared vocabulary for hidden states of target positions."""
        raise TypeError(f"{type(self).__name__} does not generate")

    def output_layer(self) -> tuple[Float[Tensor, "vocabulary hidden_dim"], Float[Tensor, " vocabulary"] | None] | None:
        """Weight and bias of the output layer where ``logits`` is that linear layer and nothing else; None where it
        is not (a soft cap, a scale, an adapter of its own). With it, losses take less time."""
        return None

    def prefill(self, prompt: Ragged) -> DecodingState:
        """Read the prompts and get ready to decode, one item a prompt."""
        raise TypeError(f"{type(self).__name__} does not generate")

    def step(self, state: DecodingState, tokens: Float[Tensor, "items token_dim"]) -> Float[Tensor, "items hidden_dim"]:
        """Append one embedded target token to every item; the hidden state that predicts the next one."""
        raise TypeError(f"{type(self).__name__} does not generate")
