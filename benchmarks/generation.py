"""Tokens a second of greedy decoding beside transformers' ``generate`` with the same weights: batch 1, and batch 8 of mixed lengths.

``python -m benchmarks.generation`` prints a table and writes ``benchmarks/results/generation.json``: medians of interleaved runs.
The model is a random Llama of 25 million parameters, or a local one (``--path FOLDER``, ``--gguf FILE``). Both sides read the
same ids, prompts included in the time; the peer pads them on the left and attends with torch's own kernels. The program
stops unless both decode the same tokens. The floor is one row times every weight, once a token: at batch 1 nothing that
reads the weights as they are is faster, however little it does besides.
"""

import argparse
import copy
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM

import mmkit
from benchmarks import common
from benchmarks.common import report, table

# Scores far enough apart that rounding chooses no token.
LLAMA = {**common.LLAMA, "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.1}
WORDS = 16_384
PROMPT = 90


def lengths(items: int, batches: int) -> list[list[int]]:
    """Words of the prompts of every batch: the median of the reference load, or log-normal from 16 to 512 around it.

    With this seed 55 % of the padded places are padding; over many batches 58 % are.
    """
    if items == 1:
        return [[PROMPT]]
    draw = random.Random(10)
    drawn = [min(512, max(16, round(draw.lognormvariate(4.5, 0.87)))) for _ in range(items * batches)]
    return [drawn[first : first + items] for first in range(0, len(drawn), items)]


def build(backbone: dict[str, Any]) -> mmkit.Model:
    """Text → text over a vocabulary of made-up words."""
    words = [f"w{index}" for index in range(WORDS - 3)]  # before them: unknown, begin and end
    task = {"input": "{text}", "output": "{answer}", "columns": {"answer": "text"}, "head": "generate"}
    spec = {
        "mmkit": 1,
        "modalities": {"text": {"adapter": {"use": "words", "vocab_size": WORDS}}},
        "backbone": {"use": "causal-lm", **backbone},
        "tasks": {"say": task},
    }
    return mmkit.build(spec, fit={"text": words}).eval()


@dataclass
class Pair:
    """The same weights behind ``Model.predict`` and behind ``generate``."""

    model: mmkit.Model

    def __post_init__(self) -> None:
        lm: Any = self.model.backbones["backbone"].lm
        config = copy.deepcopy(lm.config)
        self.peer: Any = AutoModelForCausalLM.from_config(config, dtype=lm.dtype, attn_implementation="sdpa").eval()
        self.peer.load_state_dict(lm.state_dict())
        self.peer.generation_config = copy.deepcopy(self.peer.generation_config)
        self.vocabulary = self.model.vocabularies["text"]
        self.layers = [module for module in self.peer.modules() if isinstance(module, torch.nn.Linear)]

    def ours(self, prompts: list[list[int]], new: int) -> list[str]:
        """Texts in, texts out."""
        rows = [{"text": self.vocabulary.decode(ids)} for ids in prompts]
        return list(self.model.predict("say", rows, max_new_tokens=new))

    def theirs(self, prompts: list[list[int]], new: int) -> list[str]:
        """Padded ids in, texts out; no step may choose the begin id, and other words than the vocabulary's."""
        begin, end = self.vocabulary.begin_id, self.vocabulary.end_id
        most = max(map(len, prompts)) + 1
        ids = torch.tensor([[end] * (most - 1 - len(one)) + one + [begin] for one in prompts])
        real = torch.tensor([[0] * (most - 1 - len(one)) + [1] * (len(one) + 1) for one in prompts])
        barred = [begin, *range(WORDS, self.peer.config.vocab_size)]
        options = {"do_sample": False, "pad_token_id": end, "eos_token_id": end, "suppress_tokens": barred}
        found = self.peer.generate(input_ids=ids, attention_mask=real, max_new_tokens=new, **options)[:, most:]
        return [self.vocabulary.decode(one) for one in found.tolist()]

    @torch.inference_mode()
    def floor(self, prompts: list[list[int]], new: int) -> None:
        """The products of so many tokens of one item."""
        rows = [torch.ones(1, layer.in_features, dtype=layer.weight.dtype) for layer in self.layers]
        for _ in range(new):
            for row, layer in zip(rows, self.layers, strict=True):
                functional.linear(row, layer.weight)


Batches: TypeAlias = list[list[list[int]]]


def prompts_of(items: int, batches: int) -> Batches:
    """Random words."""
    draw = random.Random(items)
    return [[[draw.randrange(3, WORDS) for _ in range(n)] for n in batch] for batch in lengths(items, batches)]


def measured(pair: Pair, batches: Batches, new: int, runs: int) -> tuple[dict[str, list[float]], int]:
    """Seconds of every run over all batches, the two taking turns at each, and the tokens made in a run."""
    who: dict[str, Callable[[list[list[int]], int], Any]] = {"generate": pair.theirs, "mmkit": pair.ours}
    times: dict[str, list[float]] = {name: [0.0] * runs for name in (*who, "floor")}
    tokens = 0
    for prompts in batches:
        texts = {name: decode(prompts, new) for name, decode in who.items()}
        if texts["mmkit"] != texts["generate"]:
            raise SystemExit(f"the two decode different tokens: {texts}")
        tokens += sum(len(text.split()) for text in texts["mmkit"])
        measured = {**who, "floor": pair.floor} if len(prompts) == 1 else who
        for run in range(runs):
            for name, call in measured.items():
                started = time.perf_counter()
                call(prompts, new)
                times[name][run] += time.perf_counter() - started
    return times, tokens


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--new", type=int, default=64, help="tokens to decode")
    parser.add_argument("--quick", action="store_true", help="two runs of 16 tokens, one batch")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--path", type=Path, help="a local model folder")
    source.add_argument("--gguf", type=Path, help="a local GGUF file")
    options = parser.parse_args()
    runs, new = (2, 16) if options.quick else (options.runs, options.new)
    chosen: dict[str, Any] = {"config": LLAMA}
    if options.path or options.gguf:
        chosen = {"path": str(options.path)} if options.path else _gguf(options.gguf)
    torch.manual_seed(0)
    pair = Pair(build(chosen))
    rows, figures = [], {}
    for items in (1, 8):
        batches = prompts_of(items, 1 if options.quick else 3)
        times, tokens = measured(pair, batches, new, runs)
        sizes = [[len(prompt) for prompt in batch] for batch in batches]
        figures[f"batch {items}"] = {"lengths": sizes, "tokens": tokens, "seconds": times}
        rates = {name: tokens / median(values) for name, values in times.items() if any(values)}
        real = sum(map(sum, sizes)) / sum(len(batch) * max(batch) for batch in sizes)
        span = f"{min(map(min, sizes))}–{max(map(max, sizes))}" if items > 1 else str(PROMPT)
        cells = (f"{1 - real:.0%}", f"{rates['generate']:.0f}", f"{rates['mmkit']:.0f}")
        floor = f"{rates['floor']:.0f}" if "floor" in rates else ""
        rows.append((str(items), span, *cells, f"{rates['mmkit'] / rates['generate']:.2f} ×", floor))
    millions = sum(parameter.numel() for parameter in pair.peer.parameters()) / 1e6
    title = f"{millions:.1f} M parameters, {new} new tokens, {torch.get_num_threads()} threads, medians of {runs} runs."
    shown = table(
        ("batch", "words a prompt", "padding", "generate, tokens/s", "mmkit, tokens/s", "as fast", "floor, tokens/s"),
        rows,
    )
    name = f"generation_{options.path.name}" if options.path else "generation_gguf" if options.gguf else "generation"
    report(name, f"{title}\n\n{shown}", {"runs": runs, "new": new, "parameters_millions": millions, **figures})


def _gguf(file: Path) -> dict[str, Any]:
    return {"path": str(file.parent), "gguf": file.name}


if __name__ == "__main__":
    main()
