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
    return _run(lm, {_name(lm, trunk): _Given(trunk, hidden[None])}, hidden)


def _name(lm: nn.Module, module: nn.Module | None) -> str:
    return next(name for name, child in lm.named_children() if child is module)


def _run(lm: PreTrainedModel, instead: dict[str, nn.Module], hidden: Tensor) -> Tensor:
    """Scores of hidden states with some children replaced."""
    view = copy.copy(lm)
    view.__dict__["_modules"] = {**lm._modules, **instead}
    given: dict[str, Any] = {"inputs_embeds": hidden[None], "use_cache": False}
    if lm.config.is_encoder_decoder:
        given = {"encoder_outputs": _States(hidden[None]), "decoder_inputs_embeds": hidden[None], "use_cache": False}
    scores: Tensor = view(**given).logits
    return torch.squeeze(scores, 0)


@torch.no_grad()
def scores_are_linear(lm: PreTrainedModel, trunk: nn.Module) -> bool:
    """Whether the scores are those of the output layer and nothing else. It is tried: a small layer in its place,
    from tiny to huge weights, must come through ``lm.forward`` unchanged."""
    layer = lm.get_output_embeddings()
    if not isinstance(layer, nn.Linear):
        return False
    generator = torch.Generator().manual_seed(0)
    probe, hidden = nn.Linear(layer.in_features, 8), torch.randn(4, layer.in_features, generator=generator)
    weight = torch.randn(probe.weight.shape, generator=generator) * torch.logspace(-3, 3, 8)[:, None]
    probe.load_state_dict({"weight": weight, "bias": weight[:, 0]})
    try:
        given = {_name(lm, trunk): _Given(trunk, hidden[None]), _name(lm, layer): probe}
        return torch.equal(_run(lm, given, hidden), probe(hidden))
    except Exception:  # whatever an architecture needs besides, its scores are then not known to be linear
        return False
