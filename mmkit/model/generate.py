"""Prediction of a packed batch: plain heads directly, autoregressive heads by greedy, sampled or beam decoding."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mmkit.errors import MmkitError, nearest
from mmkit.interfaces import Backbone, DecodingState, VocabularyAdapter
from mmkit.model.batch import PackedBatch
from mmkit.ragged import Ragged

if TYPE_CHECKING:
    from mmkit.model.model import Model

OPTIONS = {
    "max_new_tokens": 64,
    "beams": 1,
    "temperature": 0.0,
    "top_k": None,
    "top_p": None,
    "length_penalty": 1.0,
    "seed": 0,
}


def predict_batch(model: "Model", task: str, batch: PackedBatch, **options: Any) -> list[Any]:
    """Predictions for every sample of the batch, all of one task, in order."""
    from mmkit.model.model import Run

    run, planned, head = Run(model, batch), model.plan.tasks[task], model.parts.heads[task]
    samples = list(range(len(batch.tasks)))
    if not head.autoregressive:
        if options:
            raise MmkitError(f"task {task!r} takes no options, got: {', '.join(options)}")
        return head.predict([run.read(node, samples) for node in planned.reads])
    chosen = {**OPTIONS, **{k: v for k, v in head.options().items() if k in OPTIONS}}
    chosen.update(options)
    _check(chosen)
    assert planned.output_modality is not None
    vocabulary = model.vocabularies[planned.output_modality]
    decoder = Decoder(model.parts.backbones[planned.reads[0]], vocabulary, model.offsets[planned.output_modality])
    prompt = run.prompt(planned.reads[0], samples)
    ids = decoder.beam(prompt, chosen) if chosen["beams"] > 1 else decoder.sample(prompt, chosen)
    return head.predict([Ragged.of([torch.tensor(sequence, dtype=torch.int64) for sequence in ids])])


_LEGAL: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "max_new_tokens": ("a whole number above 0", lambda v: isinstance(v, int) and v > 0),
    "beams": ("a whole number above 0", lambda v: isinstance(v, int) and v > 0),
    "temperature": ("a number, 0 or more", lambda v: 0 <= v < math.inf),
    "top_k": ("a whole number above 0, or None", lambda v: isinstance(v, int) and v > 0),
    "top_p": ("a number above 0, at most 1, or None", lambda v: 0 < v <= 1),
    "length_penalty": ("a number", math.isfinite),
    "seed": ("a whole number", lambda v: isinstance(v, int)),
}


def _check(options: Mapping[str, Any]) -> None:
    """Refuse options that are unknown, out of range, or exclude each other."""
    for name, value in options.items():
        if name not in OPTIONS:
            raise MmkitError(f"unknown decoding option {name!r}: {nearest(name, list(OPTIONS))}")
        wanted, legal = _LEGAL[name]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (legal(value) if number else value is None and OPTIONS[name] is None):
            raise MmkitError(f"decoding option {name!r} is {wanted}, got {value!r}")
    if options["beams"] > 1 and options["temperature"]:
        raise MmkitError(
            "decoding options beams > 1 and temperature > 0 exclude each other: beam search does not sample"
        )


class Decoder:
    """Decoding loops over a backbone's ``prefill`` and ``step``, limited to one vocabulary's ids."""

    def __init__(self, backbone: Backbone, vocabulary: VocabularyAdapter, offset: int) -> None:
        self.backbone, self.vocabulary, self.offset = backbone, vocabulary, offset
        self.layer = backbone.output_layer()

    def _logits(self, state: DecodingState, last: Tensor) -> Float[Tensor, "items size"]:
        """Scores of the next id of every item; the begin id is never chosen."""
        hidden = self.backbone.step(state, self.backbone.embed(last + self.offset))
        place = slice(self.offset, self.offset + self.vocabulary.size)
        if self.layer is None or len(self.layer[0]) == self.vocabulary.size:
            logits = self.backbone.logits(hidden)[:, place].float()
        else:
            weight, bias = self.layer
            logits = functional.linear(hidden, weight[place], None if bias is None else bias[place]).float()
        if self.vocabulary.begin_id != self.vocabulary.end_id:
            logits[:, self.vocabulary.begin_id] = float("-inf")
        return logits

    @torch.inference_mode()
    def sample(self, prompt: Ragged, options: dict[str, Any]) -> list[list[int]]:
        """Greedy (temperature 0) or ancestral sampling; each item has a generator of its own, so that the result
        is the same alone and in a batch. Finished items leave the batch, a quarter of it at a time."""
        device, end = prompt.device, self.vocabulary.end_id
        last = torch.full((len(prompt),), self.vocabulary.begin_id, device=device)
        generators = [torch.Generator().manual_seed(int(options["seed"])) for _ in range(len(prompt))]
        state = self.backbone.prefill(prompt)
        rows: list[list[int]] = [[] for _ in range(len(prompt))]
        batch, done = list(range(len(prompt))), set()
        for _ in range(int(options["max_new_tokens"])):
            logits = self._logits(state, last)
            if options["temperature"]:
                scores = logits.log_softmax(-1).cpu()
                ids = _draw(scores, options, [generators[item] for item in batch]).tolist()
            else:
                ids = logits.max(-1).indices.tolist()  # faster than argmax on a CPU
            for item, chosen in zip(batch, ids, strict=True):
                if chosen == end:
                    done.add(item)
                elif item not in done:
                    rows[item].append(chosen)
            if len(done) == len(rows):
                break
            alive = [place for place, item in enumerate(batch) if item not in done]
            if len(alive) <= 0.75 * len(batch):
                state = state.reorder(torch.tensor(alive, device=device))
                batch, ids = [batch[place] for place in alive], [ids[place] for place in alive]
            last = torch.tensor(ids, device=device)
        return rows

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
        finished: list[list[tuple[float, list[int]]]] = [[] for _ in range(items)]
        for length in range(1, most + 1):
            scores = self._logits(state, last).log_softmax(-1).view(items, width, -1)
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
                        finished[item].append((value / length**penalty, ids))
                    if token != end and len(kept) < width:
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
        return [max(done, key=lambda pair: pair[0], default=(0.0, []))[1] for done in finished]


def _draw(scores: Float[Tensor, "items size"], options: dict[str, Any], generators: list[torch.Generator]) -> Tensor:
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
