"""A callback of training."""

from typing import Any

from transformers import TrainerCallback

from mmkit import RunContext


class Watch(TrainerCallback):
    """Writes the number of the last step into the run's folder."""

    def __init__(self, context: RunContext, file: str) -> None:
        self.context, self.file = context, file

    def on_train_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """At the end of a stage."""
        if self.context.first:
            self.context.output.mkdir(parents=True, exist_ok=True)
            (self.context.output / self.file).write_text(str(state.global_step))


def build(context: RunContext, *, file: str) -> Watch:
    """Builder of ``watch``."""
    return Watch(context, file)
