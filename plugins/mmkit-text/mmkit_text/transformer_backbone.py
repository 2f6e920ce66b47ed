"""A small transformer from scratch: a decoder that reads the prompt as a prefix, or an encoder and a decoder."""

from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mmkit import Backbone, BuildContext, DecodingState, Ragged
from mmkit_text.attention import Block, Layout, initialise
from mmkit_text.linear import plain_linear


class TransformerState(DecodingState):
    """Keys and values of every layer, which of them are real, and how far each item is."""

    def __init__(
        self,
        keys: list[Tensor],
        values: list[Tensor],
        real: Bool[Tensor, "items n"],
        positions: Int[Tensor, " items"],
        memory: list[tuple[Tensor, Tensor]],
        memory_real: Tensor | None,
    ) -> None:
        self.keys, self.values, self.real, self.positions = keys, values, real, positions
        self.memory, self.memory_real = memory, memory_real

    def reorder(self, items: Int[Tensor, " beams"]) -> "TransformerState":
        """Select items."""
        return TransformerState(
            [k.index_select(0, items) for k in self.keys],
            [v.index_select(0, items) for v in self.values],
            self.real.index_select(0, items),
            self.positions.index_select(0, items),
            [(k.index_select(0, items), v.index_select(0, items)) for k, v in self.memory],
            None if self.memory_real is None else self.memory_real.index_select(0, items),
        )


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
            states, _ = self._encode(prompt)
            return states if self.memory_norm is None else states.replace(self.norm(states.values))
        if len(self.decoder):
            return self._decode(prompt, target)
        joined = Ragged.of([torch.cat(pair) for pair in zip(prompt.split(), target.split(), strict=True)])
        states = self._blocks(joined, prompt.lengths)
        rows = [s[size:] for s, size in zip(states.split(), prompt.sizes, strict=True)]
        return Ragged.of(rows)

    def _blocks(self, tokens: Ragged, prompts: Int[Tensor, " items"]) -> Ragged:
        """The single stack over whole sequences."""
        if tokens.values.shape[0] == 0:
            return tokens
        layout = Layout(tokens.lengths, tokens.device)
        place = torch.arange(layout.longest, device=tokens.device)
        seen = place[None, :] <= place[:, None]
        mask = seen[None].expand(layout.items, -1, -1)
        if not self.causal_prompt:
            mask = mask | (place[None, None, :] < prompts.to(tokens.device)[:, None, None])
        mask = (mask & layout.real[:, None]) | torch.eye(layout.longest, dtype=torch.bool, device=tokens.device)
        x = self.dropout(tokens.values)
        for block in _blocks(self.encoder):
            x = block(x, layout.positions, layout, mask)
        return tokens.replace(self.norm(x))

    def _encode(self, prompt: Ragged) -> tuple[Ragged, Layout]:
        """The prompt alone; for the encoder-decoder form before the final normalisation of its states."""
        layout = Layout(prompt.lengths, prompt.device)
        if self.memory_norm is None:
            return self._blocks(prompt, prompt.lengths), layout
        x = self.dropout(prompt.values)
        if x.shape[0]:
            eye = torch.eye(layout.longest, dtype=torch.bool, device=prompt.device)
            mask = layout.real[:, None] | eye
            for block in _blocks(self.encoder):
                x = block(x, layout.positions, layout, mask)
        return prompt.replace(x), layout

    def _memory(self, prompt: Ragged) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
        """Keys and values of every decoder block, and which are real."""
        assert self.memory_norm is not None
        states, layout = self._encode(prompt)
        states = states.replace(self.memory_norm(states.values))
        real = functional.pad(layout.real, (1, 0), value=True)
        return [block.memory(states, layout) for block in _blocks(self.decoder)], real

    def _decode(self, prompt: Ragged, target: Ragged) -> Ragged:
        memory, real = self._memory(prompt)
        layout = Layout(target.lengths, target.device)
        causal = torch.ones(layout.longest, layout.longest, dtype=torch.bool, device=target.device).tril()
        mask = causal[None].expand(layout.items, -1, -1)
        x = self.dropout(target.values)
        for block, (key, value) in zip(_blocks(self.decoder), memory, strict=True):
            x = block(x, layout.positions, layout, mask, (key, value, real[:, None]))
        return target.replace(self.norm(x))

    def prefill(self, prompt: Ragged) -> TransformerState:
        """Read the prompts: the cache of the decoder form, the memory of the encoder-decoder form."""
        items, device = len(prompt), prompt.device
        if len(self.decoder):
            memory, real = self._memory(prompt)
            heads = _blocks(self.decoder)[0].attention.heads
            empty = prompt.values.new_zeros(items, heads, 0, self.token_dim // heads)
            nothing = torch.zeros(items, 0, dtype=torch.bool, device=device)
            start = torch.zeros(items, dtype=torch.int64, device=device)
            count = len(self.decoder)
            return TransformerState([empty] * count, [empty] * count, nothing, start, memory, real)
        layout = Layout(prompt.lengths, device)
        keys, values = [], []
        mask = self._prompt_mask(layout)
        x = self.dropout(prompt.values)
        for block in _blocks(self.encoder):
            query, key, value = (block.attention.split(layout.pad(part)) for part in block.keys(x, layout.positions))
            keys.append(key)
            values.append(value)
            if x.shape[0]:
                read = layout.unpad(block.attention.attend(query, key, value, mask))
                x = block.finish(x + block.dropout(block.attention.out(read)))
        return TransformerState(keys, values, layout.real, prompt.lengths.to(device), [], None)

    def _prompt_mask(self, layout: Layout) -> Bool[Tensor, "items n n"]:
        place = torch.arange(layout.longest, device=layout.real.device)
        seen = place[None, :] <= place[:, None] if self.causal_prompt else torch.ones_like(place[:, None] == place)
        return (seen & layout.real[:, None]) | torch.eye(layout.longest, dtype=torch.bool, device=place.device)

    def step(self, state: DecodingState, tokens: Float[Tensor, "items token_dim"]) -> Float[Tensor, "items hidden_dim"]:
        """Append one token an item."""
        assert isinstance(state, TransformerState)
        x = self.dropout(tokens)
        state.real = functional.pad(state.real, (0, 1), value=True)
        blocks = _blocks(self.decoder if len(self.decoder) else self.encoder)
        for index, block in enumerate(blocks):
            query, key, value = (block.attention.split(p[:, None]) for p in block.keys(x, state.positions))
            state.keys[index] = torch.cat([state.keys[index], key], dim=2)
            state.values[index] = torch.cat([state.values[index], value], dim=2)
            read = block.attention.attend(query, state.keys[index], state.values[index], state.real[:, None])
            x = x + block.dropout(block.attention.out(read[:, 0]))
            if state.memory_real is not None:
                x = block.read_step(x, state.memory[index], state.memory_real[:, None])
            x = block.finish(x)
        state.positions = state.positions + 1
        return self.norm(x)


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
