"""What could not be used: bad rows, and samples longer than the token budget."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mmkit.errors import DataError
from mmkit.model.batch import BadSample, PackedBatch


@dataclass
class Quarantine:
    """Bad rows seen so far; stops the run when their share passes the limit."""

    limit: float
    seen: int = 0
    bad: list[BadSample] = field(default_factory=list)

    def add(self, batch: PackedBatch) -> None:
        """Count a batch.

        Raises:
            DataError: too many rows were bad (after at least 100 rows, or when nothing is left).
        """
        self.seen += len(batch.tasks) + len(batch.bad)
        self.bad += batch.bad
        if batch.bad and (self.seen >= 100 or not batch.tasks):
            self.close()

    @classmethod
    def joined(cls, several: "Sequence[Quarantine]") -> "Quarantine":
        """Those of all ranks as one."""
        return cls(several[0].limit, sum(one.seen for one in several), [bad for one in several for bad in one.bad])

    def state(self) -> dict[str, Any]:
        """JSON-able."""
        return {"seen": self.seen, "bad": [[bad.address, bad.reason] for bad in self.bad]}

    def load(self, states: Sequence[dict[str, Any]]) -> None:
        """Go on counting from the states of some ranks."""
        self.seen = sum(state["seen"] for state in states)
        self.bad = [BadSample(*pair) for state in states for pair in state["bad"]]

    def close(self) -> None:
        """Hold the share against the limit; called at the end, however few rows there were.

        Raises:
            DataError: too many rows were bad.
        """
        if len(self.bad) > self.limit * self.seen:
            raise DataError(self.summary() + f"; more than data.max_bad = {self.limit:.1%} allows")

    def summary(self) -> str:
        """Counts and the first addresses."""
        first = "; ".join(f"{b.address}: {b.reason}" for b in self.bad[:3])
        return f"{len(self.bad)} of {self.seen} rows could not be used ({first})"


@dataclass
class PackingReport:
    """How full the batches were, and which samples were too long for one.

    Attributes:
        budget: tokens a batch may have; 0 where batches have a fixed number of samples.
        batches, tokens: handed out. long: how many samples were dropped, truncated or split; first: some of each.
    """

    budget: int = 0
    batches: int = 0
    tokens: int = 0
    long: Counter[str] = field(default_factory=Counter)
    first: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def joined(cls, several: "Sequence[PackingReport]") -> "PackingReport":
        """Those of all ranks as one."""
        whole = cls(several[0].budget)
        for one in several:
            whole.batches, whole.tokens = whole.batches + one.batches, whole.tokens + one.tokens
            whole.long.update(one.long)
            for what, named in one.first.items():
                whole.first[what] = (whole.first.get(what, []) + named)[:3]
        return whole

    @property
    def efficiency(self) -> float:
        """Share of the budget that was used."""
        return self.tokens / (self.budget * self.batches) if self.budget and self.batches else 1.0

    def note(self, what: str, address: str) -> None:
        """Count a long sample."""
        self.long[what] += 1
        if len(named := self.first.setdefault(what, [])) < 3:
            named.append(address)

    def summary(self) -> str:
        """One line; empty where there is nothing to say."""
        parts = [f"batches {self.efficiency:.1%} full"] if self.budget and self.batches else []
        for what, count in self.long.items():
            parts.append(f"{count:,} samples longer than {self.budget:,} tokens {what} ({', '.join(self.first[what])})")
        return "; ".join(parts)

    def state(self) -> dict[str, Any]:
        """JSON-able."""
        first = {what: list(named) for what, named in self.first.items()}
        return {"batches": self.batches, "tokens": self.tokens, "long": dict(self.long), "first": first}

    def load(self, state: dict[str, Any]) -> None:
        """Go on counting."""
        self.batches, self.tokens = state["batches"], state["tokens"]
        self.long, self.first = Counter(state["long"]), {what: list(named) for what, named in state["first"].items()}
