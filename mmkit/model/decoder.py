"""Decoding loops over a backbone's ``prefill`` and ``step``, limited to the ids that may stand in each place."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from mmkit.interfaces import Backbone, DecodingState, Grammar, VocabularyAdapter
from mmkit.interfaces.codec import streams_of
from mmkit.model.constrain import Rule, held
from mmkit.ragged import Ragged


class Decoder:
    """Decodes ids of one vocabulary.

    Args:
        offset: where the vocabulary's ids start in the backbone's table.
        rules: of every item that is held to a schema; None of one that is not.
        guidance: weight of the prompt, where every prompt is followed, after all of them, by one without columns:
            scores are u + guidance · (c - u) of the log-probabilities with (c) and without (u) them (Ho & Salimans 2022;
            for ids Sanchez et al. 2023, equation 7).

    Attributes:
        streams: ids of one step. cut: values of the last decoding that were not whole when they reached the limit.
    """

    def __init__(
        self,
        backbone: Backbone,
        vocabulary: VocabularyAdapter,
        offset: int,
        guidance: float | None = None,
        rules: Sequence[Rule | None] = (),
    ) -> None:
        self.backbone, self.vocabulary, self.offset, self.guidance = backbone, vocabulary, offset, guidance
        self.rules = list(rules)
        self.grammar = vocabulary if isinstance(vocabulary, Grammar) else None
        self.streams = streams_of(vocabulary)
        self.layer = backbone.output_layer()
        self.cut = 0
        self._masks: dict[tuple[range, ...], Tensor] = {}

    def _logits(self, state: DecodingState, last: Int[Tensor, " ids"]) -> Float[Tensor, "items size"]:
        """Scores of the next ids of every item; the begin id is never chosen."""
        if self.guidance is not None:
            last = last.repeat(2)
        embedded = self.backbone.embed(last + self.offset)
        if self.streams > 1:
            embedded = embedded.unflatten(0, (-1, self.streams)).sum(1)
        hidden = self.backbone.step(state, embedded)
        place = slice(self.offset, self.offset + self.vocabulary.size)
        if self.layer is None or len(self.layer[0]) == self.vocabulary.size:
            logits = self.backbone.logits(hidden)[:, place].float()
        else:
            weight, bias = self.layer
            logits = functional.linear(hidden, weight[place], None if bias is None else bias[place]).float()
        if self.guidance is not None:
            conditional, free = logits.log_softmax(-1).chunk(2)
            logits = free + self.guidance * (conditional - free)
        if self.vocabulary.begin_id != self.vocabulary.end_id:
            logits[:, self.vocabulary.begin_id] = float("-inf")
        return logits

    def _legal(
        self, logits: Float[Tensor, "items size"], written: Iterable[Sequence[int]]
    ) -> Float[Tensor, "items size"]:
        """Minus infinity for ids that may not follow what each item has written."""
        if self.grammar is None:
            return logits
        masks = [self._mask(tuple(self.grammar.allowed(ids)), logits.device) for ids in written]
        if all(mask is masks[0] for mask in masks):
            return logits.masked_fill(masks[0], float("-inf"))
        return logits.masked_fill(torch.stack(masks), float("-inf"))

    def _mask(self, allowed: tuple[range, ...], device: torch.device) -> Tensor:
        """True where an id may not stand."""
        if allowed not in self._masks:
            mask = torch.ones(self.vocabulary.size, dtype=torch.bool)
            for ids in allowed:
                mask[ids.start : ids.stop] = False
            self._masks[allowed] = mask.to(device)
        return self._masks[allowed]

    def _reorder(self, state: DecodingState, items: list[int], count: int, device: torch.device) -> DecodingState:
        """Of ``count`` items, with their unconditional twins where there are any."""
        both = items if self.guidance is None else [*items, *(count + item for item in items)]
        return state.reorder(torch.tensor(both, device=device))

    def sample(self, prompt: Ragged, options: dict[str, Any]) -> list[list[int]]:
        """Greedy (temperature 0) or ancestral sampling; each item has a generator of its own, so that the result
        is the same alone and in a batch."""
        return deque(self.steps(prompt, options), maxlen=1).pop()

    @torch.inference_mode()
    def steps(self, prompt: Ragged, options: dict[str, Any]) -> Iterator[list[list[int]]]:
        """What each item has written after every step (the same lists, growing). Finished items leave the batch, a
        quarter of it at a time."""
        count = len(prompt) if self.guidance is None else len(prompt) // 2
        device, begin = prompt.device, self.vocabulary.begin_id
        last = torch.full((count * self.streams,), begin, device=device)
        seeds = options["seed"] if isinstance(options["seed"], list) else [options["seed"]] * count
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        state = self.backbone.prefill(prompt)
        rows: list[list[int]] = [[] for _ in range(count)]
        rules = self.rules or [None] * count
        batch, done = list(range(count)), set[int]()
        self.cut = 0
        yield rows
        for _ in range(-(-int(options["max_new_tokens"]) // self.streams) if count else 0):
            logits = self._logits(state, last)
            given = [generators[item] for item in batch]
            held_to = [None if item in done else rules[item] for item in batch]
            chosen = self._choose(held(logits, held_to), [rows[item] for item in batch], options, given)
            for rule, ids in zip(held_to, chosen, strict=True):
                if rule is not None:
                    rule.take(ids[0])
            for item, ids in zip(batch, chosen, strict=True):
                if ids[0] == self.vocabulary.end_id:
                    done.add(item)
                elif item not in done:
                    rows[item].extend(ids)
            yield rows
            if len(done) == count:
                return
            alive = [place for place, item in enumerate(batch) if item not in done]
            if len(alive) <= 0.75 * len(batch):
                state = self._reorder(state, alive, len(batch), device)
                batch, chosen = [batch[place] for place in alive], [chosen[place] for place in alive]
            last = torch.tensor([i for ids in chosen for i in ids], device=device)
        self.cut = count - len(done)

    def _choose(
        self,
        logits: Float[Tensor, "items size"],
        written: Sequence[Sequence[int]],
        options: dict[str, Any],
        generators: list[torch.Generator],
    ) -> list[list[int]]:
        """The next ids of every item, one a stream; a stream knows what the ones before it chose, by the grammar alone."""
        chosen: list[list[int]] = [[] for _ in written]
        for _ in range(self.streams):
            legal = self._legal(logits, ([*ids, *new] for ids, new in zip(written, chosen, strict=True)))
            if options["temperature"]:
                ids = draw(legal.log_softmax(-1).cpu(), options, generators).tolist()
            else:
                ids = legal.max(-1).indices.tolist()  # faster than argmax on a CPU
            for new, one in zip(chosen, ids, strict=True):
                new.append(one)
        return chosen

    @torch.inference_mode()
    def beam(self, prompt: Ragged, options: dict[str, Any]) -> list[list[int]]:
        """Beam search that stops once ``beams`` hypotheses are finished (``early_stopping=True`` of transformers).

        A hypothesis scores its log-probability over its length, end id included, to the power ``length_penalty``;
        it is finished by the end id, if that is among the ``beams`` best continuations, or at ``max_new_tokens``.
        """
        width, end, items = int(options["beams"]), self.vocabulary.end_id, len(prompt)
        most, penalty = int(options["max_new_tokens"]), float(options["length_penalty"])
        device = prompt.device
        state = self.backbone.prefill(prompt).reorder(torch.arange(items).repeat_interleave(width).to(device))
        last = torch.full((items * width,), self.vocabulary.begin_id, device=device)
        totals = torch.full((items, width), float("-inf"), device=device)
        totals[:, 0] = 0.0
        beams: list[list[list[int]]] = [[[] for _ in range(width)] for _ in range(items)]
        finished: list[list[tuple[float, list[int], bool]]] = [[] for _ in range(items)]
        for length in range(1, most + 1):
            written = (ids for hypotheses in beams for ids in hypotheses)
            scores = self._legal(self._logits(state, last), written).log_softmax(-1).view(items, width, -1)
            size = scores.shape[-1]
            best, flat = (totals[..., None] + scores).view(items, -1).topk(min(2 * width, width * size))
            order, tokens = [], []
            for item in range(items):
                kept: list[tuple[float, int, int]] = []
                closed = len(finished[item]) >= width  # goes on only because of other items of the batch
                for rank, (value, position) in enumerate(zip(best[item].tolist(), flat[item].tolist(), strict=True)):
                    parent, token = divmod(position, size)
                    ended = token == end or length == most
                    if ended and rank < width and not closed and value > float("-inf"):
                        ids = beams[item][parent] if token == end else [*beams[item][parent], token]
                        finished[item].append((value / length**penalty, ids, token == end))
                    if token != end and len(kept) < width and value > float("-inf"):
                        kept.append((value, parent, token))
                kept += [(float("-inf"), 0, end)] * (width - len(kept))
                beams[item] = [[*beams[item][parent], token] for _, parent, token in kept]
                totals[item] = torch.tensor([value for value, _, _ in kept], device=device)
                order += [item * width + parent for _, parent, _ in kept]
                tokens += [token for _, _, token in kept]
            if all(len(done) >= width for done in finished):
                break
            state = state.reorder(torch.tensor(order, device=device))
            last = torch.tensor(tokens, device=device)
        found = [max(done, key=lambda one: one[0], default=(0.0, [], True)) for done in finished]
        self.cut = sum(not whole for _, _, whole in found)
        return [ids for _, ids, _ in found]


def draw(scores: Float[Tensor, "items size"], options: dict[str, Any], generators: list[torch.Generator]) -> Tensor:
    """Temperature, top-k, then nucleus (Holtzman et al. 2020) sampling."""
    scores = scores / float(options["temperature"])
    if options["top_k"]:
        least = scores.topk(min(int(options["top_k"]), scores.shape[-1])).values[:, -1:]
        scores = scores.masked_fill(scores < least, float("-inf"))
    if options["top_p"]:
        ordered, index = scores.softmax(-1).sort(descending=True)
        drop = ordered.cumsum(-1) - ordered > float(options["top_p"])
        scores = scores.masked_fill(torch.zeros_like(drop).scatter(1, index, drop), float("-inf"))
    probabilities = scores.softmax(-1)
    drawn = [torch.multinomial(row, 1, generator=g) for row, g in zip(probabilities, generators, strict=True)]
    return torch.cat(drawn)
