"""``mmkit audit``: attacks on a saved model, and what their figures mean."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmkit.audit.attack import Estimate, Scores, auc, best_accuracy, estimate, tpr_at_fpr
from mmkit.audit.losses import row_losses
from mmkit.errors import MmkitError
from mmkit.model.checkpoint import load
from mmkit.model.model import Model

FIGURES = {"auc": auc, "balanced_accuracy": best_accuracy, "tpr_at_1_fpr": tpr_at_fpr}
FEWEST = 20
ENOUGH = 200


@dataclass(frozen=True)
class Audit:
    """What the attacks found.

    Attributes:
        members, others: how many rows. losses: mean loss of each group.
        attacks: name of the attack → figure → estimate.
        bound: balanced accuracy that no attack on one row can pass, from the model's ``privacy.json``; None without one.
    """

    task: str
    members: int
    others: int
    losses: tuple[float, float]
    attacks: Mapping[str, Mapping[str, Estimate]]
    bound: float | None

    def words(self) -> list[str]:
        """What it means, in plain words."""
        said = []
        for name, figures in self.attacks.items():
            found = figures["auc"]
            if found.low > 0.5:
                said.append(
                    f"{name}: the model tells who was in its training data. Shown one row that was and one that was not, an "
                    f"attacker picks the right one in {found.value:.0%} of cases (guessing: 50%)"
                )
            else:
                said.append(
                    f"{name}: no leak was found: telling members from others works no better than guessing "
                    f"(95% interval of the AUC {found.low:.2f} to {found.high:.2f})"
                )
        if self.bound is not None:
            said.append(
                f"its private training bounds the balanced accuracy of any attack on one row by {self.bound:.3f}"
            )
        said.append("stronger attacks exist; figures near 0.5 are no proof of privacy, which only train.privacy gives")
        if min(self.members, self.others) < ENOUGH:
            said.append(f"fewer than {ENOUGH} rows a group: the share of members found at 1% false alarms is coarse")
        return said


def audit(
    model: Model | str | Path,
    task: str,
    members: str | Path,
    others: str | Path,
    *,
    reference: Model | str | Path | None = None,
    limit: int | None = None,
) -> Audit:
    """Attack a model with rows that it was trained on and rows of the same kind that it was not.

    ``loss`` takes rows with a small loss for members (Yeom et al. 2018). With a ``reference``, a model of the same task that
    was trained on other rows, ``calibrated`` takes rows for members whose loss is smaller than the reference's
    (Watson et al. 2022): what is easy for everybody no longer looks like a member.

    Args:
        members, others: files of rows, of any format that ``data`` takes. limit: most rows of each.

    Raises:
        MmkitError: fewer than 20 rows in a group, or the task cannot be audited. DataError: a file cannot be read.
    """
    model = model if isinstance(model, Model) else load(model)
    inside, outside = row_losses(model, task, members, limit), row_losses(model, task, others, limit)
    for path, found in ((members, inside), (others, outside)):
        if len(found) < FEWEST:
            raise MmkitError(
                f"{path} has {len(found)} rows; an audit needs at least {FEWEST} members and {FEWEST} others"
            )
    scores: dict[str, tuple[Scores, Scores]] = {"loss": (-inside, -outside)}
    if reference is not None:
        known = reference if isinstance(reference, Model) else load(reference)
        easy = row_losses(known, task, members, limit), row_losses(known, task, others, limit)
        if (len(easy[0]), len(easy[1])) != (len(inside), len(outside)):
            raise MmkitError("the reference cannot use the same rows as the model: they differ in what is a bad row")
        scores["calibrated"] = (easy[0] - inside, easy[1] - outside)
    attacks = {name: {label: estimate(of, *pair) for label, of in FIGURES.items()} for name, pair in scores.items()}
    means = float(inside.mean()), float(outside.mean())
    return Audit(task, len(inside), len(outside), means, attacks, _bound(model.privacy))


def _bound(privacy: Mapping[str, Any] | None) -> float | None:
    """(e^ε + δ) / (1 + e^ε), from the trade-off of Kairouz et al. 2015."""
    if privacy is None or privacy.get("epsilon") is None:
        return None
    growth = math.exp(min(700.0, privacy["epsilon"]))
    return min(1.0, (growth + float(privacy["delta"])) / (1 + growth))
