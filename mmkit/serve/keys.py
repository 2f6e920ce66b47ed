"""Who may ask, and how often."""

import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from mmkit.errors import MmkitError
from mmkit.serve.refusal import Refusal

_KNOWN = 10_000
SHORTEST = 16


def read_keys(path: Path | None, environment: str) -> tuple[str, ...]:
    """API keys of a file, one a line (``#`` begins a comment), and of a comma-separated variable.

    Raises:
        MmkitError: the file cannot be read or has none, or a key is too short to be one.
    """
    lines: list[str] = []
    if path is not None:
        try:
            lines = path.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise MmkitError(f"--api-key-file {path} cannot be read: {error}") from None
    found = [line.partition("#")[0].strip() for line in lines] + [key.strip() for key in environment.split(",")]
    keys = tuple(dict.fromkeys(key for key in found if key))
    if path is not None and not keys:
        raise MmkitError(f"--api-key-file {path} has no key; write one a line")
    if any(len(key) < SHORTEST for key in keys):
        raise MmkitError(f"an API key has at least {SHORTEST} characters; `openssl rand -hex 24` makes one")
    return keys


class Keys:
    """The known keys, as digests."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.digests = [_digest(key.encode()) for key in keys]

    def of(self, authorization: bytes) -> str:
        """Which key a request has: ``key 1`` …, or an empty name where none are needed. The time that this takes tells nothing
        of the keys.

        Raises:
            Refusal: none, or a wrong one.
        """
        if not self.digests:
            return ""
        kind, _, given = authorization.partition(b" ")
        digest, found = _digest(given.strip()), 0
        for number, known in enumerate(self.digests, 1):
            found += number * hmac.compare_digest(digest, known)
        if not found or kind.lower() != b"bearer":
            message = (
                "an API key is needed: Authorization: Bearer KEY" if not authorization else "the API key is not known"
            )
            raise Refusal(401, "invalid_api_key", message, headers={"WWW-Authenticate": "Bearer"})
        return f"key {found}"


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


class Rates:
    """Requests a minute of each key or address: a bucket that fills up steadily."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self.left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def spend(self, who: str, now: float | None = None) -> None:
        """Count a request.

        Raises:
            Refusal: one too many.
        """
        if not self.per_minute:
            return
        now = time.monotonic() if now is None else now
        left, before = self.left.pop(who, (float(self.per_minute), now))
        left = min(self.per_minute, left + (now - before) * self.per_minute / 60)
        self.left[who] = (left - 1 if left >= 1 else left, now)
        while len(self.left) > _KNOWN:
            self.left.popitem(last=False)
        if left < 1:
            wait = max(1, round((1 - left) * 60 / self.per_minute + 0.5))
            message = f"at most {self.per_minute} requests a minute; try again later"
            raise Refusal(429, "rate_limit", message, headers={"Retry-After": str(wait)})
