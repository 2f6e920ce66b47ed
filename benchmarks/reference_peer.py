"""The peer of the reference load: transformers' ``Trainer`` over padded batches, of any rows or of rows of nearly one length."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_pt_utils import LengthGroupedSampler

from benchmarks.reference_data import BATCH, Load, clip, llama
from benchmarks.reference_plugin import PLACES, pictures

PLACE, PAD = 0, 2  # PLACE is no id of a row; padding is masked


class WithPictures(nn.Module):
    """The language model alone, with known features where the places are."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.lm = LlamaForCausalLM(LlamaConfig(**llama(vocabulary)))

    def forward(self, input_ids: Tensor, features: Tensor, labels: Tensor, **options: Any) -> Any:
        """As LLaVA does it: features scattered over the embedded places."""
        embedded = self.lm.get_input_embeddings()(input_ids)
        embedded = embedded.masked_scatter((input_ids == PLACE)[..., None], features)
        return self.lm(inputs_embeds=embedded, labels=labels, use_cache=False, **options)


def build(load: Load) -> nn.Module:
    """LLaVA, or its language model where features are known; torch's own attention."""
    if not load.encoder:
        return WithPictures(load.vocabulary)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**clip()),
        text_config=LlamaConfig(**llama(load.vocabulary)),
        image_token_index=PLACE,
        image_seq_length=PLACES,
        vision_feature_layer=-1,
        tie_word_embeddings=True,
    )
    return LlavaForConditionalGeneration(config)


class Padded:
    """Rows → a batch padded on the right to its longest. Pixels are ready in memory: the peer decodes nothing."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.pixels = [_pixels(load.folder / f"{n}.png") for n in range(64)] if load.encoder else []

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """Names of LLaVA's forward."""
        ids = [torch.tensor(row["input_ids"]) for row in rows]
        labels = [
            torch.tensor([-100] * (len(row["input_ids"]) - row["targets"]) + row["input_ids"][-row["targets"] :])
            for row in rows
        ]
        pad = nn.utils.rnn.pad_sequence
        shown = [number for row in rows for number in row["pictures"]]
        batch = {
            "input_ids": pad(ids, True, PAD),
            "labels": pad(labels, True, -100),
            "attention_mask": pad([torch.ones_like(one) for one in ids], True, 0),
        }
        if not self.load.encoder:
            return {**batch, "features": pictures()[torch.tensor(shown, dtype=torch.int64)].flatten(0, 1)}
        return {**batch, "pixel_values": torch.stack([self.pixels[n] for n in shown])} if shown else batch


def _pixels(path: Path) -> Tensor:
    with Image.open(path) as image:
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        return pixels.view(image.height, image.width, 3).permute(2, 0, 1) / 127.5 - 1


class PaddedTrainer(Trainer):
    """``Trainer`` over chosen batches, in order."""

    order: list[int]

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return self.order


def order(load: Load, grouped: bool, batches: int) -> list[int]:
    """Rows of the wanted number of batches: a random draw of those that Trainer's sampler makes of all rows."""
    torch.manual_seed(0)
    lengths = [load.tokens(row) for row in load.rows]
    every = list(LengthGroupedSampler(BATCH, lengths=lengths)) if grouped else torch.randperm(load.count).tolist()
    whole = [every[at : at + BATCH] for at in range(0, load.count, BATCH)]
    return [row for batch in random.Random(1).sample(whole, batches) for row in batch]


def train(load: Load, grouped: bool, steps: int, folder: Path, step: Callable[[], None]) -> list[tuple[int, int]]:
    """Train; ``step`` is called after each.

    Returns:
        useful tokens and padded places of each step.
    """
    rows = [
        {
            "input_ids": [PLACE] * (PLACES * len(row["pictures"])) + row["prompt"] + [1] + row["answer"] + [2],
            "targets": len(row["answer"]) + 1,
            "pictures": row["pictures"],
        }
        for row in load.rows
    ]

    class Ticks(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            step()

    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=BATCH,
        learning_rate=1e-3,
        optim="adamw_torch_fused",
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        remove_unused_columns=False,
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = PaddedTrainer(build(load), arguments, Padded(load), rows, callbacks=[Ticks()])
    trainer.order = order(load, grouped, steps)
    trainer.log = lambda logs, start_time=None: None  # type: ignore[method-assign]  # its lines are for nobody
    trainer.train()
    batches = [trainer.order[at : at + BATCH] for at in range(0, len(trainer.order), BATCH)]
    sizes = [[len(rows[row]["input_ids"]) for row in batch] for batch in batches]
    useful = [sum(load.tokens(load.rows[row]) for row in batch) for batch in batches]
    return [(tokens, BATCH * max(size)) for tokens, size in zip(useful, sizes, strict=True)]
