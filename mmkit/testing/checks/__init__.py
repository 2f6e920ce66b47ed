"""Every check, in the order of the scorecard."""

from mmkit.testing.check import Check
from mmkit.testing.checks import (
    backbone,
    beside,
    continuous,
    head,
    items,
    module,
    numerics,
    processor,
    record,
    vocabulary,
    whole,
)

CHECKS: tuple[Check, ...] = tuple(
    value
    for part in (record, module, items, processor, vocabulary, continuous, backbone, head, beside, whole, numerics)
    for value in vars(part).values()
    if isinstance(value, Check)
)


def of_kind(kind: str) -> tuple[Check, ...]:
    """The checks that a component of this kind is held to."""
    return tuple(one for one in CHECKS if kind in one.kinds)
