"""Any causal language model of transformers as a backbone: packed rows in training, a key-value cache in decoding."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForCausalLM, DynamicCache, PreTrainedModel

from mmkit import Attended, Backbone, BuildContext, DecodingState, Padded, PluginError, Ragged
from mmkit_text.documents import KERNELS, Documents
from mmkit_text.frame import PLAIN, Frame
from mmkit_text.kept import Kept, eager, watching
from mmkit_text.lean_step import LeanStep
from mmkit_text.linear import few_rows, plain_linear
from mmkit_text.lm_decoding import PaddedState, SlotState, agree
from mmkit_text.lm_scores import score, scores_are_linear
from mmkit_text.lm_source import PositionLimit, load_lm, mixes_rows, table_of
from mmkit_text.packed_attention import Step, packed
from mmkit_text.slot_cache import SlotCache


class CausalLm(Backbone):
    """Prompt and target are one causal sequence.

    Args:
        lm: a model of ``AutoModelForCausalLM``. generates: keep the output layer.
        packs: rows of all samples run as one sequence with ``packed_attention``; else a batch padded on the right.
        attention: the kernel of packed rows, by name.
        frame: ids before every prompt, and what the first id of a target is predicted from.
    """

    def __init__(
        self, lm: PreTrainedModel, generates: bool, packs: bool, attention: str = "packed", frame: Frame = PLAIN
    ) -> None:
        super().__init__()
        self.frame = frame
        output = lm.get_output_embeddings()
        text = lm.config.get_text_config()
        self.token_dim = table_of(lm).shape[1]
        self.hidden_dim = text.hidden_size if output is None else cast("Any", output).weight.shape[1]
        self.generates, self.packs = generates, packs and not mixes_rows(lm)
        self.limit = PositionLimit(lm)
        self.kernels = (attention,) if attention in KERNELS else KERNELS
        self._slots: bool | None = None
        self._lean = False
        self.lm: Any = lm if generates else lm.base_model
        self._takes = set(inspect.signature(self.trunk.forward).parameters)
        if generates and "past_key_values" not in self._takes:
            raise PluginError(
                f"{type(lm).__name__} keeps no key-value cache, so it cannot decode here; "
                "fix: use a language model with attention, or a head that reads the prompt"
            )

    @property
    def trunk(self) -> PreTrainedModel:
        """The model without its output layer."""
        return cast("PreTrainedModel", self.lm.base_model)

    def embed(self, ids: Int[Tensor, " n"]) -> Float[Tensor, "n token_dim"]:
        """The model's own table, with its scale where the table has one."""
        return self.lm.get_input_embeddings()(ids)

    def logits(self, hidden: Float[Tensor, "n hidden_dim"]) -> Float[Tensor, "n vocabulary"]:
        """The model's own scores: output layer, scale, soft cap, bias."""
        if not self.generates:
            return super().logits(hidden)
        layer = self.output_layer()
        if layer is not None:
            return few_rows(hidden, *layer)
        return score(self.lm, self.trunk, hidden)

    def output_layer(self) -> tuple[Tensor, Tensor | None] | None:
        """The model's output layer, where its scores are that layer's and nothing else."""
        return plain_linear(self.lm.get_output_embeddings()) if self._linear else None

    @cached_property
    def _linear(self) -> bool:
        return self.generates and scores_are_linear(self.lm, self.trunk)

    def forward(self, prompt: Ragged, target: Ragged | None = None) -> Ragged:
        """States of the prompt, or of the target read after the prompt.

        Raises:
            SampleError: a sequence is longer than the model's table of positions.
        """
        before = len(self.frame.prefix)
        if isinstance(prompt, Padded):
            return self._padded(prompt)
        prompt = self.frame.prefixed(prompt, self.embed)
        if target is None:
            states = self._run(prompt)
            return states if not before else Ragged.of([item[before:] for item in states.split()])
        if not self.generates:
            raise TypeError("this causal-lm was built without an output layer and does not generate")
        return self._read(*self.frame.begun(prompt, target))

    def _padded(self, prompt: Padded) -> Padded:
        """States of the prompt in an exported graph."""
        ids = torch.tensor(self.frame.prefix, dtype=torch.int64, device=prompt.device)
        prefix = self.embed(ids)[None].expand(prompt.values.shape[0], -1, -1).to(prompt.values.dtype)
        whole = Padded(torch.cat([prefix, prompt.values], dim=1), prompt.lengths + len(ids))
        states = self._trunk(whole.values, whole.mask, whole.positions())
        return prompt.unpad(states[:, len(ids) :])

    def _read(self, prompt: Ragged, target: Ragged) -> Ragged:
        """States of the target read after the prompt."""
        pieces = [piece for pair in zip(prompt.split(), target.split(), strict=True) for piece in pair]
        sizes = [before + after for before, after in zip(prompt.sizes, target.sizes, strict=True)]
        states = self._run(Ragged.sized(torch.cat(pieces), sizes))
        total = len(target.values)
        before = torch.repeat_interleave(prompt.lengths.cumsum(0), target.lengths, output_size=total)
        rows = torch.arange(total) + before
        return target.replace(states.values.index_select(0, rows.to(states.device)))

    def _run(self, tokens: Ragged, cache: SlotCache | None = None) -> Ragged:
        """All states of whole sequences, whose keys and values ``cache`` takes."""
        self.limit.check(tokens.sizes)
        if tokens.values.shape[0] == 0:
            return tokens.replace(tokens.values.new_zeros(0, self.hidden_dim))
        if not self.packs:
            padded, real = tokens.to_padded()
            states = self._trunk(padded, real, torch.arange(padded.shape[1], device=padded.device).expand_as(real))
            return Ragged.from_padded(states, tokens.lengths)
        with packed(Documents.of(tokens.sizes, tokens.device, kernels=self.kernels, cache=cache)):
            states = self._trunk(tokens.values[None], self._ones(1, len(tokens.values)), tokens.positions()[None])
        return tokens.replace(states[0])

    @contextmanager
    def watched(self) -> Iterator[list[Attended]]:
        """Inside, ``forward`` keeps what every attention reads, of one sample.

        Raises:
            PluginError: the architecture shows no weights.
        """
        kept = Kept(len(self.frame.prefix))
        with watching(self, kept) if self.packs else eager(self.trunk, kept.add_all):
            yield kept.all

    def _ones(self, *shape: int) -> Tensor:
        """The mask that keeps transformers from guessing documents out of the positions."""
        return torch.ones(shape, dtype=torch.bool, device=table_of(self.lm).device)

    def _trunk(self, tokens: Tensor, real: Tensor, positions: Tensor, cache: Any = None) -> Tensor:
        """One call of the model. Without ``cache`` none is made: packed positions in a cache would leak."""
        options: dict[str, Any] = {"attention_mask": real, "position_ids": positions}
        options |= {"past_key_values": cache, "use_cache": cache is not None}
        known = {name: value for name, value in options.items() if name in self._takes}
        tokens = tokens.to(table_of(self.lm).dtype)
        states: Tensor = self.trunk(inputs_embeds=tokens, **known).last_hidden_state
        return states

    def prefill(self, prompt: Ragged) -> DecodingState:
        """Read the prompts: packed, into places allocated ahead, or padded on the left."""
        prompt = self.frame.prefixed(prompt, self.embed)
        prompt, instead = self.frame.kept(prompt)
        self.limit.check(prompt.sizes)
        state = self._prefill_slots(prompt) if self._uses_slots() else self._prefill_padded(prompt)
        state.instead = instead
        return state

    def _prefill_padded(self, prompt: Ragged) -> PaddedState:
        padded, real = prompt.to_padded(side="left")
        cache = DynamicCache(config=self.lm.config)
        if padded.shape[1]:
            self._trunk(padded, real, (real.cumsum(1) - 1).clamp(min=0), cache)
        return PaddedState(cache, real, prompt.lengths.to(prompt.device), max(prompt.sizes, default=0))

    def _prefill_slots(self, prompt: Ragged) -> SlotState:
        cache, lean = SlotCache(prompt.sizes), LeanStep.of(self.trunk) if self._lean else None
        furthest = max(prompt.sizes, default=0)
        return SlotState(cache, prompt.lengths.to(prompt.device), furthest, lean, prompt, self._run)

    def step(self, state: DecodingState, tokens: Float[Tensor, "items token_dim"]) -> Float[Tensor, "items hidden_dim"]:
        """Append one token to every item."""
        assert isinstance(state, (SlotState, PaddedState))
        if state.instead is not None:
            tokens, state.instead = state.instead, None
        state.furthest += 1
        self.limit.check([state.furthest])
        if isinstance(state, SlotState):
            states = self._first(state, state.unread, tokens) if state.unread is not None else self._step(state, tokens)
        else:
            state.real = functional.pad(state.real, (0, 1), value=True)
            states = self._trunk(tokens[:, None], state.real, state.positions[:, None], state.cache)[:, 0]
        state.positions = state.positions + 1
        return states

    def _first(self, state: SlotState, prompt: Ragged, tokens: Tensor) -> Tensor:
        """Read the prompts, each with its first token."""
        pieces = [
            piece
            for pair in zip(prompt.split(), tokens.to(prompt.values.dtype).split(1), strict=True)
            for piece in pair
        ]
        both = Ragged(torch.cat(pieces), prompt.lengths + 1)
        state.cache, state.unread = SlotCache(both.sizes), None
        return self._run(both, state.cache).values.index_select(0, both.lengths.cumsum(0).to(both.device) - 1)

    def _step(self, state: SlotState, tokens: Tensor) -> Tensor:
        state.cache.advance()
        tokens = tokens.to(table_of(self.lm).dtype)
        if state.lean is not None and not torch.is_grad_enabled():
            return state.lean(tokens, state.positions, state.cache)
        with packed(Step(state.cache)):
            return self._trunk(tokens[:, None], self._ones(len(tokens), 1), state.positions[:, None])[:, 0]

    def _uses_slots(self) -> bool:
        """Whether places allocated ahead, and then the lean step, give this architecture's own states. It is tried, once:
        two items step by step against teacher forcing. What does not pass decodes with a cache of transformers."""
        chunks = "chunked_attention" in (getattr(self.lm.config.get_text_config(), "layer_types", None) or [])
        if not self.packs or self.training or chunks:
            return False
        if self._slots is None:
            self._slots = self._try()
            self._lean = self._slots and LeanStep.of(self.trunk) is not None  # now ``_prefill_slots`` takes it
            self._lean = self._lean and self._try()
        return self._slots

    def _try(self) -> bool:
        try:
            return self._steps_agree()
        except Exception:  # whatever an architecture needs besides, this way is then not its way
            return False

    @torch.no_grad()
    def _steps_agree(self) -> bool:
        rows = torch.arange(10, device=table_of(self.lm).device) % table_of(self.lm).shape[0]
        tokens = self.embed(rows)
        prompt, target = Ragged(tokens[:4], torch.tensor([3, 1])), Ragged(tokens[4:], torch.tensor([3, 3]))
        state, inputs = self._prefill_slots(prompt), tokens[4:].unflatten(0, (2, 3))
        got = torch.stack([self.step(state, inputs[:, step]) for step in range(3)], dim=1)
        return agree(got.flatten(0, 1), self._read(prompt, target).values)

    def save_assets(self, folder: Path) -> None:
        """``config.json``."""
        self.lm.config.save_pretrained(folder)


def build(
    context: BuildContext,
    *,
    path: Path | None,
    hub: str | None,
    gguf: str | None,
    config: Mapping[str, Any] | None,
    dtype: str,
    attention: str,
    prefix: list[int],
    begin: bool,
) -> CausalLm:
    """A causal language model whose table has the rows that the spec's vocabularies need.

    Raises:
        PluginError: the source is missing, broken or incomplete, or the model cannot decode.
    """
    lm, packs = load_lm(
        AutoModelForCausalLM,
        context,
        path=path,
        hub=hub,
        gguf=gguf,
        config=config,
        dtype=dtype,
        attention=attention,
    )
    return CausalLm(lm, context.generates, packs, attention, Frame(tuple(prefix), begin))
