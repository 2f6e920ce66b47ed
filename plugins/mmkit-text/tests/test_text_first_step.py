"""A prompt is read once, and together with the first token where nothing is reordered before."""

from typing import Any

import pytest
import torch
from mmkit_text import backbone_config
from mmkit_text.causal_lm import CausalLm, build
from mmkit_text.lm_decoding import SlotState

from mmkit import BuildContext, Ragged

LLAMA = {"model_type": "llama", "vocab_size": 40, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
LLAMA |= {"num_attention_heads": 4, "num_key_value_heads": 2}


@pytest.fixture
def backbone() -> CausalLm:
    torch.manual_seed(0)
    settings = backbone_config.CausalLmConfig(config=LLAMA)
    built = build(BuildContext(vocabulary_size=40, generates=True), **settings.model_dump()).eval()
    assert built._uses_slots()
    return built


def embedded(backbone: CausalLm, sizes: list[int], seed: int) -> Ragged:
    ids = torch.randint(3, 40, (sum(sizes),), generator=torch.Generator().manual_seed(seed))
    return Ragged(backbone.embed(ids), torch.tensor(sizes))


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of every call of the model."""
    seen: list[int] = []
    trunk = CausalLm._trunk

    def counted(self: CausalLm, tokens: torch.Tensor, *more: Any) -> torch.Tensor:
        seen.append(tokens.shape[0] * tokens.shape[1])
        return trunk(self, tokens, *more)

    monkeypatch.setattr(CausalLm, "_trunk", counted)
    return seen


@pytest.mark.parametrize("order", [None, [0, 0, 1, 1, 2, 2]])
@pytest.mark.parametrize("sizes", [[5, 0, 9], [0, 0, 0]])
@torch.no_grad()
def test_prompts_are_read_once(backbone: CausalLm, rows: list[int], sizes: list[int], order: list[int] | None) -> None:
    prompt, target = embedded(backbone, sizes, 0), embedded(backbone, [3, 3, 3], 1)
    state = backbone.prefill(prompt)
    assert isinstance(state, SlotState)
    assert rows == []
    inputs = torch.stack(target.split())
    if order is not None:
        state, inputs = state.reorder(torch.tensor(order)), inputs[order]
        assert rows == [sum(sizes)] * bool(sum(sizes))
    got = torch.stack([backbone.step(state, inputs[:, step]) for step in range(3)], 1)
    assert rows == ([sum(sizes) + 3] if order is None else [sum(sizes)] * bool(sum(sizes)))  # the rest by lean steps
    expected = torch.stack(backbone(prompt, target).split())
    torch.testing.assert_close(got, expected if order is None else expected[order], atol=1e-4, rtol=1e-4)
