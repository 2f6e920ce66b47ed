"""A small transformer from scratch: a decoder that reads the prompt as a prefix, or an encoder and a decoder."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mmkit import Attended, Backbone, BuildContext, DecodingState, Ragged
from mmkit_text.attention import Block, Layout, Memory, Turns, initialise, layout_of
from mmkit_text.documents import Documents
from mmkit_text.kept import Kept, watching
from mmkit_text.linear import plain_linear
from mmkit_text.slot_cache import SlotCache


class TransformerState(DecodingState):
    """Keys and values of every layer, the next position of every item, and what cross-attention reads."""

    def __init__(self, cache: SlotCache, positions: Int[Tensor, " items"], memory: SlotCache | None) -> None:
        self.cache, self.positions, self.memory = cache, positions, memory

    def reorder(self, items: Int[Tensor, " beams"]) -> "TransformerState":
        """Select items."""
        chosen, device = items.tolist(), items.device
        memory = None if self.memory is None else self.memory.select(chosen, device)
        return TransformerState(self.cache.select(chosen, device), self.positions.index_select(0, items), memory)


class Transformer(Backbone):
    """Pre-norm blocks with rotary positions, RMS normalisation and SwiGLU, in two forms.

    ``decoder``: prompt and target are one sequence; the prompt sees itself whole (Raffel et al. 2020, prefix LM) or
    causally. ``encoder-decoder``: the target reads the encoded prompt by cross-attention (Vaswani et al. 2017).
    """

    generates = True

    def __init__(
        self,
        rows: int,
        dim: int,
        layers: int,
        decoder_layers: int,
        heads: int,
        hidden: int,
        dropout: float,
        causal_prompt: bool,
        output: bool,
    ) -> None:
        super().__init__()
        self.token_dim = self.hidden_dim = dim
        self.causal_prompt = causal_prompt
        self.table = nn.Embedding(max(rows, 1), dim)
        self.encoder = nn.ModuleList(Block(dim, heads, hidden, dropout, cross=False) for _ in range(layers))
        self.decoder = nn.ModuleList(Block(dim, heads, hidden, dropout, cross=True) for _ in range(decoder_layers))
        self.norm = nn.RMSNorm(dim)
        self.memory_norm = nn.RMSNorm(dim) if decoder_layers else None
        self.output = nn.Linear(dim, max(rows, 1), bias=False) if output else None
        self.dropout = nn.Dropout(dropout)
        initialise(self, layers + decoder_layers)
        nn.init.normal_(self.table.weight, std=dim**-0.5)

    def embed(self, ids: Int[Tensor, " n"]) -> Float[Tensor, "n token_dim"]:
        """Rows of the table, times √dim."""
        return self.table(ids) * self.token_dim**0.5

    def logits(self, hidden: Float[Tensor, "n hidden_dim"]) -> Float[Tensor, "n vocabulary"]:
        """Scores by the output layer, or by the table itself (Press & Wolf 2017)."""
        return functional.linear(hidden, self.table.weight) if self.output is None else self.output(hidden)

    def output_layer(self) -> tuple[Tensor, Tensor | None] | None:
        """The output layer, or the table."""
        return (self.table.weight, None) if self.output is None else plain_linear(self.output)

    def forward(self, prompt: Ragged, target: Ragged | None = None) -> Ragged:
        """States of the prompt, or of the target."""
        if target is None:
            states = self._encode(prompt)
            return states if self.memory_norm is None else states.replace(self.norm(states.values))
        if len(self.decoder):
            return self._decode(prompt, target)
        pieces = [size for pair in zip(prompt.sizes, target.sizes, strict=True) for size in pair]
        rows = [piece for pair in zip(prompt.split(), target.split(), strict=True) for piece in pair]
        joined = Ragged.sized(torch.cat(rows), _sums(prompt, target))
        layout = Layout(joined.sizes, joined.device, prompts=None if self.causal_prompt else prompt.sizes)
        read = self._stack(joined, layout).split(pieces)[1::2]
        return target.replace(self.norm(torch.cat(read)))

    @contextmanager
    def watched(self) -> Iterator[list[Attended]]:
        """Inside, ``forward`` keeps what every attention reads, of one sample."""
        kept = Kept()
        with watching(self, kept):
            yield kept.all

    def _stack(self, tokens: Ragged, layout: Layout, cache: SlotCache | None = None) -> Tensor:
        """The blocks of the first stack over whole sequences, before normalisation; ``cache`` takes keys and values."""
        x = self.dropout(tokens.values)
        turns = self._turns(layout.positions, x)
        for index, block in enumerate(_blocks(self.encoder)):
            if cache is None:
                x = block(x, turns, layout)
                continue
            query, key, value = block.keys(x, turns)
            cache.fill(index, key.transpose(0, 1)[None], value.transpose(0, 1)[None])
            x = block.finish(block.add(x, layout.attend(query, key, value)))
        return x

    def _turns(self, positions: Tensor, x: Tensor) -> Turns:
        return Turns.of(positions, self.token_dim // _blocks(self.encoder)[0].attention.heads, x.dtype)

    def _encode(self, prompt: Ragged) -> Ragged:
        """The prompt alone; for the encoder-decoder form before the final normalisation of its states."""
        causal = self.causal_prompt and self.memory_norm is None
        states = self._stack(prompt, layout_of(prompt, causal))
        return prompt.replace(states if self.memory_norm is not None else self.norm(states))

    def _memory(self, prompt: Ragged) -> list[Memory]:
        """What every decoder block reads of the prompt."""
        assert self.memory_norm is not None
        states = self.memory_norm(self._encode(prompt).values)
        return [block.memory(states, prompt.sizes) for block in _blocks(self.decoder)]

    def _decode(self, prompt: Ragged, target: Ragged) -> Ragged:
        memories = self._memory(prompt)
        layout = Layout(target.sizes, target.device, first=sum(prompt.sizes))
        keys = Documents.of(memories[0].sizes, target.device)
        readers = replace(layout.whole, causal=False, keys=keys)
        x = self.dropout(target.values)
        turns = self._turns(layout.positions, x)
        for block, memory in zip(_blocks(self.decoder), memories, strict=True):
            x = block(x, turns, layout, memory, readers)
        return target.replace(self.norm(x))

    def prefill(self, prompt: Ragged) -> TransformerState:
        """Read the prompts: the cache of the decoder form, the memory of the encoder-decoder form."""
        device = prompt.device
        if not len(self.decoder):
            cache = SlotCache(prompt.sizes)
            self._stack(prompt, Layout(prompt.sizes, device, self.causal_prompt), cache)
            return TransformerState(cache, prompt.lengths.to(device), None)
        memories = self._memory(prompt)
        memory = SlotCache(memories[0].sizes, ahead=0)
        for index, given in enumerate(memories):
            memory.fill(index, given.key.transpose(0, 1)[None], given.value.transpose(0, 1)[None])
        start = torch.zeros(len(prompt), dtype=torch.int64, device=device)
        return TransformerState(SlotCache([0] * len(prompt)), start, memory)

    def step(self, state: DecodingState, tokens: Float[Tensor, "items token_dim"]) -> Float[Tensor, "items hidden_dim"]:
        """Append one token an item."""
        assert isinstance(state, TransformerState)
        state.cache.advance()
        x = self.dropout(tokens)
        turns = self._turns(state.positions, x)
        for index, block in enumerate(_blocks(self.decoder if len(self.decoder) else self.encoder)):
            query, key, value = (part[:, :, None] for part in block.keys(x, turns))
            state.cache.write(index, key, value)
            x = block.add(x, state.cache.read(index, query).flatten(1))
            if state.memory is not None:
                x = block.read_step(x, state.memory, index)
            x = block.finish(x)
        state.positions = state.positions + 1
        return self.norm(x)


def _sums(prompt: Ragged, target: Ragged) -> list[int]:
    return [before + after for before, after in zip(prompt.sizes, target.sizes, strict=True)]


def _blocks(modules: nn.ModuleList) -> list[Block]:
    return cast("list[Block]", list(modules))


def build(
    context: BuildContext,
    *,
    dim: int,
    layers: int,
    decoder_layers: int | None,
    heads: int,
    ffn: int | None,
    dropout: float,
    form: str,
    prompt: str,
    tie: bool,
) -> Transformer:
    """A transformer over a table with the rows that the spec's vocabularies need; a head that only reads needs
    neither decoder blocks nor an output layer."""
    hidden = ffn or -(-dim * 8 // 3 // 16) * 16
    decoders = (decoder_layers or layers) if form == "encoder-decoder" and context.generates else 0
    output = context.generates and not tie
    return Transformer(
        context.vocabulary_size, dim, layers, decoders, heads, hidden, dropout, prompt == "causal", output
    )
