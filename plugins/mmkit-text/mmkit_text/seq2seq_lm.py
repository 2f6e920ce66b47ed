"""Any encoder-decoder language model of transformers (T5, BART, Marian …) as a backbone."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, DynamicCache, EncoderDecoderCache, PreTrainedModel

from mmkit import Attended, Backbone, BuildContext, DecodingState, Padded, PluginError, Ragged, SampleError
from mmkit_text.frame import Frame
from mmkit_text.linear import plain_linear
from mmkit_text.lm_cache import select
from mmkit_text.lm_scores import score, scores_are_linear
from mmkit_text.lm_source import PositionLimit, load_lm, table_of
from mmkit_text.seq2seq_watched import watched


class Seq2SeqLmState(DecodingState):
    """The decoder's cache, the encoder's states with the mask of the real ones, and the steps so far."""

    def __init__(
        self, cache: Any, memory: Float[Tensor, "items n hidden_dim"], real: Bool[Tensor, "items n"], steps: int
    ) -> None:
        self.cache, self.memory, self.real, self.steps = cache, memory, real, steps

    def reorder(self, items: Int[Tensor, " beams"]) -> "Seq2SeqLmState":
        """Select items."""
        memory, real = self.memory.index_select(0, items), self.real.index_select(0, items)
        return Seq2SeqLmState(select(self.cache, items), memory, real, self.steps)


class Seq2SeqLm(Backbone):
    """The encoder reads the prompt, the decoder the target.

    An empty prompt is read as one row of zeros: a decoder has to attend to something.

    Args:
        lm: a model of ``AutoModelForSeq2SeqLM``, or a decoder that attends to the prompt as it is given.
        generates: keep the decoder and the output layer.
        prefix: ids that the decoder reads before the begin id.
        encodes: whether the model has an encoder.
    """

    def __init__(
        self, lm: PreTrainedModel, generates: bool, prefix: tuple[int, ...] = (), encodes: bool = True
    ) -> None:
        super().__init__()
        self.frame, self.encodes = Frame(prefix), encodes
        self.masks = encodes or "encoder_attention_mask" in signature(lm.get_decoder().forward).parameters
        if encodes and table_of(lm.get_encoder()) is not table_of(lm.get_decoder()):
            raise PluginError(
                f"{type(lm).__name__} has one table for its encoder and another for its decoder; "
                "fix: use a model that shares one (share_encoder_decoder_embeddings, tie_word_embeddings)"
            )
        self.scale, self.decoder_scale = _scales(lm) if encodes else (1.0, 1.0)
        self.token_dim = table_of(lm).shape[1]
        self.hidden_dim = lm.config.hidden_size
        self.generates = generates
        self.limit = PositionLimit(lm)
        self.settings = lm.config
        self.lm: Any = lm if generates or not encodes else lm.get_encoder()

    def embed(self, ids: Int[Tensor, " n"]) -> Float[Tensor, "n token_dim"]:
        """The model's own table, with its scale where the table has one."""
        return self.lm.get_input_embeddings()(ids) * self.scale

    def logits(self, hidden: Float[Tensor, "n hidden_dim"]) -> Float[Tensor, "n vocabulary"]:
        """The model's own scores: output layer, scale, soft cap, bias."""
        if not self.generates:
            return super().logits(hidden)
        if self._linear:
            return self.lm.get_output_embeddings()(hidden)
        return score(self.lm, self._trunk, hidden)

    def output_layer(self) -> tuple[Tensor, Tensor | None] | None:
        """The model's output layer, where its scores are that layer's and nothing else."""
        return plain_linear(self.lm.get_output_embeddings()) if self._linear else None

    @cached_property
    def _linear(self) -> bool:
        return self.generates and scores_are_linear(self.lm, self._trunk)

    @property
    def encoder(self) -> Any:
        """transformers' own, where there is one."""
        return self.lm.get_encoder() if self.generates else self.lm

    @property
    def _trunk(self) -> Any:
        trunk = self.lm.base_model
        return self.lm.get_decoder() if trunk is self.lm else trunk

    def _encode(self, prompt: Ragged) -> tuple[Tensor, Tensor]:
        """Padded states of the prompts, and which are real."""
        if self.encodes:
            self.limit.check(prompt.sizes)
        zero = prompt.values.new_zeros(1, self.token_dim)
        filled = Ragged.of([item if len(item) else zero for item in prompt.split()])
        padded, real = filled.to_padded()
        if not self.encodes:
            if not self.masks and len(set(filled.sizes)) > 1:
                raise SampleError(
                    f"prompts of {min(filled.sizes)} and of {max(filled.sizes)} tokens are in one batch, and "
                    f"{type(self.lm).__name__} attends to all rows of a padded one; fix: give prompts of one length (for "
                    "Whisper, clips of up to 30 seconds with silence: keep in hf-audio)"
                )
            return padded.to(table_of(self.lm).dtype), real
        padded = padded.to(table_of(self.lm).dtype)
        states: Tensor = self.encoder(inputs_embeds=padded, attention_mask=real).last_hidden_state
        return states, real

    def forward(self, prompt: Ragged, target: Ragged | None = None) -> Ragged:
        """The encoder's states of the prompt, or the decoder's of the target.

        Raises:
            SampleError: a sequence is longer than the model's table of positions.
        """
        if target is not None and not self.generates:
            raise TypeError("this seq2seq-lm was built without a decoder and does not generate")
        if isinstance(prompt, Padded):
            return self._padded(prompt)
        if not len(prompt) or (target is not None and not len(target.values)):
            return Ragged(prompt.values.new_zeros(0, self.hidden_dim), (target or prompt).lengths)
        memory, real = self._encode(prompt)
        if target is None:
            rows = prompt.lengths.clamp(min=1)
            read = Ragged.from_padded(memory, rows).split()
            return Ragged.of([item[:size] for item, size in zip(read, prompt.sizes, strict=True)])
        before = len(self.frame.prefix)
        target = self.frame.prefixed(target, self.embed)
        self.limit.check(target.sizes)
        padded, known = target.to_padded()
        states = self._decode(padded, memory, real, attention_mask=known, use_cache=False)
        return Ragged.from_padded(states[:, before:], target.lengths - before)

    def watched(self) -> AbstractContextManager[list[Attended]]:
        """Inside, ``forward`` keeps what every attention of the encoder and the decoder reads, of one sample.

        Raises:
            PluginError: the architecture shows no weights.
        """
        return watched(self)

    def _padded(self, prompt: Padded) -> Padded:
        """The encoder's states in an exported graph; the first row of an empty prompt is zero there, and is read."""
        padded, real = prompt.to_padded()
        if not self.encodes:
            return prompt.unpad(padded)
        real = real | (torch.arange(prompt.longest, device=prompt.device) == 0)
        states = self.encoder(inputs_embeds=padded.to(table_of(self.lm).dtype), attention_mask=real).last_hidden_state
        return prompt.unpad(states)

    def _decode(self, tokens: Tensor, memory: Tensor, real: Tensor, **options: Any) -> Tensor:
        decoder = self.lm.get_decoder()
        tokens = (tokens * self.decoder_scale).to(table_of(self.lm).dtype)
        if self.masks:
            options["encoder_attention_mask"] = real
        states: Tensor = decoder(inputs_embeds=tokens, encoder_hidden_states=memory, **options).last_hidden_state
        return states

    def prefill(self, prompt: Ragged) -> Seq2SeqLmState:
        """Encode the prompts; the decoder reads its prefix."""
        memory, real = self._encode(prompt)
        state = Seq2SeqLmState(EncoderDecoderCache(DynamicCache(), DynamicCache()), memory, real, 0)
        for number in self.frame.prefix:
            self.step(state, self.embed(torch.full((len(prompt),), number, device=prompt.device)))
        return state

    def step(self, state: DecodingState, tokens: Float[Tensor, "items token_dim"]) -> Float[Tensor, "items hidden_dim"]:
        """Append one token to every item."""
        assert isinstance(state, Seq2SeqLmState)
        state.steps += 1
        self.limit.check([state.steps])
        seen = torch.ones(len(tokens), state.steps, dtype=torch.bool, device=tokens.device)
        options = {"attention_mask": seen, "past_key_values": state.cache, "use_cache": True}
        return self._decode(tokens[:, None], state.memory, state.real, **options)[:, 0]

    def save_assets(self, folder: Path) -> None:
        """``config.json``."""
        self.settings.save_pretrained(folder)


def _scales(lm: PreTrainedModel) -> tuple[float, float]:
    """What the table's rows are multiplied by for the encoder, and that for the decoder.

    BART's kind of table scales by itself. In these older models the encoder scales rows that it looks up and leaves
    given ones alone; the decoder either does the same, or scales given rows too (Marian, Pegasus), or none.
    """
    encoder: Any = lm.get_encoder()
    if hasattr(lm.get_input_embeddings(), "embed_scale") or not hasattr(encoder, "embed_scale"):
        return 1.0, 1.0
    scale = float(encoder.embed_scale)
    return scale, 1.0 / scale if lm.config.model_type in ("marian", "pegasus", "blenderbot-small") else 1.0


def build(
    context: BuildContext,
    *,
    path: Path | None,
    hub: str | None,
    gguf: str | None,
    config: Mapping[str, Any] | None,
    dtype: str,
    attention: str,
    memory: str,
    prefix: list[int],
) -> Seq2SeqLm:
    """An encoder-decoder language model whose table has the rows that the spec's vocabularies need.

    Raises:
        PluginError: the source is missing, broken or incomplete, or the model has two tables.
    """
    source = {"path": path, "hub": hub, "gguf": gguf, "config": config, "dtype": dtype, "attention": attention}
    encodes = memory == "encoded"
    lm, _ = load_lm(AutoModelForSeq2SeqLM if encodes else AutoModelForCausalLM, context, **source)  # type: ignore[arg-type]
    if not encodes and "encoder_hidden_states" not in signature(lm.get_decoder().forward).parameters:
        raise PluginError(
            f"{type(lm).__name__} attends to no memory, so memory: given is not for it; "
            "fix: memory: encoded, or the decoder of an encoder-decoder model"
        )
    return Seq2SeqLm(lm, context.generates, tuple(prefix), encodes)
