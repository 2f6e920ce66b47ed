"""What a private run may spend and has spent: sampling rates, noise and accountant of all stages together."""

import secrets
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from mmkit import __version__
from mmkit.data.sources import Rows, open_all
from mmkit.errors import MmkitError, SpecError
from mmkit.spec.schema import Privacy, Stage, Train
from mmkit.wiring.graph import Plan

UNIT = "one row of data.train added or removed"
OUTSIDE = "vocabularies and normalisation fitted on the data, validation, early stopping, logs and checkpoints are not covered"
_STATE, _WORDS = 24, 624
"""Where the words of torch's Mersenne twister begin in its saved state, and how many there are."""
_LARGEST_NOISE = 1e4


@dataclass(frozen=True)
class StageBudget:
    """One stage.

    Attributes:
        lot: expected rows of a step. rates: per source, the probability of each of its rows.
        factors: per task, lot / expected rows of the task: a task's weight counts as in ordinary training.
    """

    name: str
    steps: int
    lot: int
    rates: tuple[float, ...]
    factors: Mapping[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Of the rows that are drawn most often: the guarantee holds for every row."""
        return max(self.rates)


def require_opacus() -> Any:
    """The library.

    Raises:
        MmkitError: it is not installed.
    """
    try:
        import opacus
        import opacus.accountants.utils
    except ImportError:
        raise MmkitError("train.privacy needs Opacus, which is not installed: pip install 'mmkit[privacy]'") from None
    return opacus


def stage_budgets(plan: Plan, settings: Train, sources: Sequence[Rows]) -> list[StageBudget]:
    """Steps and sampling rates.

    Raises:
        SpecError: a stage wants more rows a step than there are, or delta lets a row through whole.
    """
    privacy = settings.privacy
    assert privacy is not None
    rows = sum(len(source) for source in sources)
    if privacy.delta * rows >= 1:
        message = (
            f"{privacy.delta:g} is not below 1 / {rows:,} rows: a method that publishes one row whole would satisfy it"
        )
        fix = f"delta: {0.1 / rows:.0e}, or smaller"
        raise SpecError([plan.source.problem(("train", "privacy", "delta"), message, fix)])
    return [_stage(plan, stage, index, sources, rows) for index, stage in enumerate(settings.stages)]


def _stage(plan: Plan, stage: Stage, index: int, sources: Sequence[Rows], rows: int) -> StageBudget:
    lot = (stage.batch_size or 1) * stage.accumulate
    weights = [source.given.weight for source in sources]
    expected = [lot * weight / sum(weights) for weight in weights]
    for source, wanted in zip(sources, expected, strict=True):
        if wanted > len(source):
            message = f"a step draws {wanted:g} rows of {source.name} on average, which has {len(source):,}"
            fix = "make batch_size × accumulate smaller, or the source's weight"
            raise SpecError([plan.source.problem(("train", "stages", index, "batch_size"), message, fix)])
    rates = tuple(wanted / len(source) for wanted, source in zip(expected, sources, strict=True))
    steps = stage.steps or max(1, round(rows * (stage.epochs or 1) / lot))
    tasks: dict[str, float] = {}
    for source, wanted in zip(sources, expected, strict=True):
        tasks[source.given.task] = tasks.get(source.given.task, 0.0) + wanted
    return StageBudget(stage.name, steps, lot, rates, {task: lot / share for task, share in tasks.items()})


class Budget:
    """The whole run.

    Args:
        device: where the noise is drawn.

    Attributes:
        noise_multiplier: standard deviation of the noise over ``clip``; the same in all stages.
        secret: of the sampling.
    """

    def __init__(self, options: Privacy, stages: Sequence[StageBudget], device: torch.device, rows: int) -> None:
        self.options, self.stages, self.rows = options, list(stages), rows
        self.accountant: Any = require_opacus().accountants.create_accountant(options.accountant)
        self.noise_multiplier = noise(options, stages)
        seed = options.seed
        self.secret = secrets.randbits(128) if seed is None else seed
        self.generator = _generator(device, seed)

    def stepped(self, stage: StageBudget) -> None:
        """One step is released."""
        self.accountant.step(noise_multiplier=self.noise_multiplier, sample_rate=stage.rate)

    @property
    def steps(self) -> int:
        """Released so far."""
        return sum(count for _, _, count in self.accountant.history)

    def spent(self) -> float:
        """Epsilon of the steps so far, at ``delta``; infinite without noise."""
        return epsilon(self.options, self.accountant.history)

    def record(self) -> dict[str, Any]:
        """What ``privacy.json`` of the saved model says."""
        history = [{"noise_multiplier": n, "sample_rate": q, "steps": k} for n, q, k in self.accountant.history]
        spent = self.spent()
        return {
            "mechanism": "DP-SGD, Poisson sampling",
            "epsilon": spent if spent < float("inf") else None,
            "delta": self.options.delta,
            "target_epsilon": self.options.epsilon,
            "clip": self.options.clip,
            "noise_multiplier": self.noise_multiplier,
            "steps": self.steps,
            "sample_rate": max((part["sample_rate"] for part in history), default=0.0),
            "history": history,
            "rows": self.rows,
            "accountant": self.options.accountant,
            "unit": UNIT,
            "outside": OUTSIDE,
            "seeded": self.options.seed is not None,
            "mmkit": __version__,
        }

    def state(self) -> dict[str, Any]:
        """JSON-able: everything that a resumption needs. Whoever has it can take the noise away."""
        return {
            "secret": self.secret,
            "generator": bytes(self.generator.get_state().tolist()).hex(),
            "history": [list(part) for part in self.accountant.history],
            "noise_multiplier": self.noise_multiplier,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.secret, self.noise_multiplier = state["secret"], state["noise_multiplier"]
        self.generator.set_state(torch.tensor(list(bytes.fromhex(state["generator"])), dtype=torch.uint8))
        self.accountant.history = [tuple(part) for part in state["history"]]

    @cached_property
    def plan(self) -> str:
        """What the budget means, in a line."""
        return describe(self.options, self.stages, self.noise_multiplier, self.rows)


def planned_line(plan: Plan) -> str | None:
    """What ``train.privacy`` of a spec means with the rows that it names; None without it.

    Raises:
        DataError: they cannot be opened. SpecError, MmkitError: as in training.
    """
    settings = plan.spec.train
    if settings is None or settings.privacy is None:
        return None
    sources = open_all(plan, "train")
    stages = stage_budgets(plan, settings, sources)
    return describe(settings.privacy, stages, noise(settings.privacy, stages), sum(len(rows) for rows in sources))


def describe(options: Privacy, stages: Sequence[StageBudget], noise_multiplier: float, rows: int) -> str:
    """What a budget means, in a line."""
    planned = epsilon(options, [(noise_multiplier, stage.rate, stage.steps) for stage in stages])
    lots = ", ".join(f"{stage.name} {stage.steps:,} steps of {stage.lot:,} rows on average" for stage in stages)
    return (
        f"privacy: ε {planned:.3g} at δ {options.delta:g} for each of {rows:,} rows ({UNIT}): noise multiplier "
        f"{noise_multiplier:.3g}, clip {options.clip:g}; {lots}; {OUTSIDE}"
    )


def noise(options: Privacy, stages: Sequence[StageBudget]) -> float:
    """The noise multiplier with which all stages together stay within epsilon, at most 0.01 under it.

    As ``opacus.accountants.utils.get_noise_multiplier``, which knows one sampling rate only.

    Raises:
        SpecError: no noise is enough.
    """
    if options.noise_multiplier is not None:
        return options.noise_multiplier
    wanted = options.epsilon or 0.0
    if len(stages) == 1:
        calibrate = require_opacus().accountants.utils.get_noise_multiplier
        stage = stages[0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(
                calibrate(
                    target_epsilon=wanted,
                    target_delta=options.delta,
                    sample_rate=stage.rate,
                    steps=stage.steps,
                    accountant=options.accountant,
                    epsilon_tolerance=_tolerance(wanted),
                )
            )

    def total(multiplier: float) -> float:
        return epsilon(options, [(multiplier, stage.rate, stage.steps) for stage in stages])

    low, high = 0.0, 10.0
    while (spent := total(high)) > wanted and high < _LARGEST_NOISE:
        low, high = high, 2 * high
    while wanted - spent > _tolerance(wanted):
        middle = (low + high) / 2
        found = total(middle)
        if found < wanted:
            high, spent = middle, found
        else:
            low = middle
    return high


def _tolerance(wanted: float) -> float:
    return min(0.01, wanted / 100)


def epsilon(options: Privacy, history: Sequence[tuple[float, float, int]]) -> float:
    """What some steps cost; infinite where one had no noise."""
    if not history:
        return 0.0
    if any(multiplier == 0 for multiplier, _, _ in history):
        return float("inf")
    accountant: Any = require_opacus().accountants.create_accountant(options.accountant)
    accountant.history = list(history)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a bound that could be tighter: prv only begins there
        return float(accountant.get_epsilon(delta=options.delta))


def _generator(device: torch.device, seed: int | None) -> torch.Generator:
    """Seeded with everything it takes: ``manual_seed`` keeps 32 bits of a seed on a CPU, which can be tried out."""
    generator = torch.Generator(device)
    if seed is not None:
        return generator.manual_seed(seed)
    generator.manual_seed(secrets.randbits(63))
    if device.type == "cpu":
        state = generator.get_state()
        words = [secrets.randbits(32) for _ in range(_WORDS)]
        state[_STATE : _STATE + 8 * _WORDS] = torch.tensor(words, dtype=torch.int64).view(torch.uint8)
        generator.set_state(state)
    return generator


def said(record: Mapping[str, Any]) -> str:
    """A record of ``privacy.json`` in a line."""
    spent = "no bound (no noise)" if record["epsilon"] is None else f"ε {record['epsilon']:.3g}"
    known = "; NOISE FROM A SEED IN THE SPEC: no protection" if record["seeded"] else ""
    return (
        f"privacy: {spent} at δ {record['delta']:g} spent in {record['steps']:,} steps ({record['unit']}; noise multiplier "
        f"{record['noise_multiplier']:.3g}, clip {record['clip']:g}, {record['accountant']} accountant){known}; "
        f"{record['outside']}"
    )


__all__ = ["Budget", "StageBudget", "describe", "epsilon", "noise", "require_opacus", "said", "stage_budgets"]
