"""When a stage evaluates, saves and stops."""

from collections.abc import Callable, Mapping
from typing import Any

from transformers import TrainerCallback


class Flow(TrainerCallback):
    """Decides when to evaluate, save and stop, after the callbacks of the spec, and passes on steps and figures.

    Args:
        every: steps between evaluations and between checkpoints. interrupted: whether a signal has come.
        report: is given the step, the steps, and the figures where there are any.
    """

    def __init__(
        self,
        evaluate_every: int | None,
        save_every: int | None,
        evaluates: bool,
        interrupted: Callable[[], bool],
        report: Callable[[int, int, Mapping[str, float]], None],
    ) -> None:
        self.evaluate_every, self.save_every, self.evaluates = evaluate_every, save_every, evaluates
        self.interrupted, self.report = interrupted, report

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A step is done."""
        at = state.global_step
        last = at >= state.max_steps or control.should_training_stop  # as a callback of the spec may say
        self.report(at, state.max_steps, {})
        control.should_evaluate = self.evaluates and (last or _due(at, self.evaluate_every))
        control.should_save = not last and (_due(at, self.save_every) or self.interrupted())
        control.should_training_stop = last or self.interrupted()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Trainer logs."""
        self.report(state.global_step, state.max_steps, logs or {})
        if control.should_training_stop and "loss" in (
            logs or {}
        ):  # a callback of the spec ends the stage on these figures
            control.should_evaluate = self.evaluates


def _due(at: int, every: int | None) -> bool:
    return every is not None and at % every == 0
