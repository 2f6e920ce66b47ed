"""A language model's own way from hidden states to scores: output layer, scales, soft caps and biases."""

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel


class _States:
    """Stands for a model's output whose only content is the last hidden state."""

    def __init__(self, states: Tensor) -> None:
        self.last_hidden_state = states

    def __getitem__(self, index: int) -> Tensor:
        return self.last_hidden_state

    def __len__(self) -> int:
        return 1

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)
        return


class _Given(nn.Module):
    """In place of the trunk: gives hidden states that are known already."""

    def __init__(self, trunk: nn.Module, states: Tensor) -> None:
        super().__init__()
        object.__setattr__(self, "_trunk", trunk)
        self._states = states

    def __getattr__(self, name: str) -> Any:
        if name == "decoder":  # some models call their trunk's decoder
            return self
        return getattr(self.__dict__["_trunk"], name)

    def forward(self, *_: Any, **__: Any) -> _States:
        return _States(self._states)


def score(
    lm: PreTrainedModel, trunk: nn.Module, hidden: Float[Tensor, "n hidden_dim"]
) -> Float[Tensor, "n vocabulary"]:
    """Run ``lm.forward`` with its ``trunk`` (the child that gives last hidden states) replaced by ``hidden``.

    Architectures differ in what they do after the trunk; their own code stays the only place that knows.
    """
    view = copy.copy(lm)
    name = next(name for name, child in lm.named_children() if child is trunk)
    view.__dict__["_modules"] = {**lm._modules, name: _Given(trunk, hidden[None])}
    given: dict[str, Any] = {"inputs_embeds": hidden[None], "use_cache": False}
    if lm.config.is_encoder_decoder:
        given = {"encoder_outputs": _States(hidden[None]), "decoder_inputs_embeds": hidden[None], "use_cache": False}
    scores: Tensor = view(**given).logits
    return torch.squeeze(scores, 0)
