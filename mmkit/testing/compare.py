"""Whether two predictions are equal, whatever they are made of."""

import math
from collections.abc import Mapping, Sequence
from typing import Any


def difference(got: Any, wanted: Any, tolerance: float, place: str = "") -> str:
    """Where two values differ first; empty if they do not. Numbers may differ by ``tolerance`` of their size."""
    got, wanted = _plain(got), _plain(wanted)
    if isinstance(wanted, Mapping) and isinstance(got, Mapping):
        if set(got) != set(wanted):
            return f"{place or 'value'} has the keys {sorted(map(str, got))}, wanted {sorted(map(str, wanted))}"
        pairs: Sequence[tuple[Any, Any, Any]] = [(key, got[key], wanted[key]) for key in wanted]
    elif isinstance(wanted, list | tuple) and isinstance(got, list | tuple):
        if len(got) != len(wanted):
            return f"{place or 'value'} has {len(got)} entries, wanted {len(wanted)}"
        pairs = [(index, *pair) for index, pair in enumerate(zip(got, wanted, strict=True))]
    else:
        return "" if _equal(got, wanted, tolerance) else f"{place or 'value'} is {got!r}, wanted {wanted!r}"
    return next((text for key, a, b in pairs if (text := difference(a, b, tolerance, f"{place}[{key!r}]"))), "")


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _equal(got: Any, wanted: Any, tolerance: float) -> bool:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (got, wanted))
    if numbers:
        return math.isclose(got, wanted, rel_tol=tolerance, abs_tol=tolerance) or (got != got and wanted != wanted)
    return bool(got == wanted)
