"""Trainer's arguments, with the defaults that fail in silence turned off."""

import tempfile

import torch
from transformers import TrainingArguments

from mmkit.spec.schema import Stage, Train


def arguments(settings: Train, stage: Stage, steps: int, seed: int, name: str) -> TrainingArguments:
    """For one stage of this many steps.

    ``bf16`` stays off: accelerate would leave its wrapper around the model's forward; the trainer autocasts itself.
    Saving and evaluating are decided by ``Flow``; the trackers are given as callbacks.
    """
    return TrainingArguments(
        output_dir=tempfile.gettempdir(),  # wanted, but nothing is written there
        run_name=name,
        max_steps=steps,
        gradient_accumulation_steps=stage.accumulate,
        learning_rate=max(stage.lr.values()) if isinstance(stage.lr, dict) else stage.lr,
        lr_scheduler_type={"constant": "constant_with_warmup"}.get(stage.schedule, stage.schedule),
        warmup_steps=int(stage.warmup * steps),
        weight_decay=0.0 if stage.optimizer == "adam" else stage.weight_decay,
        optim="adamw_torch_fused",
        max_grad_norm=stage.clip,
        use_cpu=not torch.cuda.is_available(),
        logging_steps=settings.log_every,
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        save_strategy="no",
        ignore_data_skip=True,
        report_to=[],
        seed=seed,
        disable_tqdm=True,
    )
