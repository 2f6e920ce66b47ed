"""JSON Schema → what may follow, id by id, by llguidance (https://github.com/guidance-ai/llguidance).

Imports nothing but the standard library and, late, llguidance: run as a program, this file tries a schema of a stranger, read from
stdin, under limits of time and memory that the process which asks cannot set on itself.
"""

import json
import re
import sys
from collections.abc import Sequence
from typing import Any

LARGEST = 65_536
"""Most bytes of a schema."""
SECONDS, MEBIBYTES = 2, 256
"""What a schema may take to compile where it is tried, of processor time and memory."""
_OPTIONS: dict[str, Any] = {
    "whitespace_pattern": r"(\n[ ]{0,16}|[ ])",  # between tokens, once: endless space is no answer
    "item_separator": ",",
    "key_separator": ":",
    "lenient": False,
    "coerce_one_of": False,
}
_LARK = '%llguidance {"no_forcing": true}\nstart: %json '
"""Where only one continuation is left, the vocabulary still writes it id by id: it may not have the ones that were forced."""
_PLACE = re.compile(r"^at \d+\(\d+\): |failed to compile JSON schema: ")
_SOURCE = "\n   1 |"
_LIMITS: dict[str, Any] = {
    "initial_lexer_fuel": 500_000,
    "step_lexer_fuel": 100_000,
    "step_max_items": 20_000,
    "max_lexer_states": 20_000,
    "max_grammar_size": 100_000,
    "precompute_large_lexemes": False,
    "verbose_errors": False,
}
"""A step takes some 10 ms at worst, and the states of a row some 40 MB."""


TOO_COMPLEX = f"it is too complex: it takes more than {SECONDS} s or {MEBIBYTES} MiB to prepare"


class Unusable(Exception):  # noqa: N818
    """A schema that answers cannot be held to, and why."""


class Tokens:
    """What an id of a vocabulary spells, in the form that llguidance reads."""

    bos_token_id = None
    is_tokenizer_wrapper = True

    def __init__(self, pieces: Sequence[bytes | None], end: int) -> None:
        self.tokens = [b"" if piece is None or i == end else piece for i, piece in enumerate(pieces)]
        self.tokens[end] = b"\xff<end>"  # what begins with 0xff is no text
        self.eos_token_id, self.special_token_ids = end, [end]

    def __call__(self, text: str) -> list[int]:
        """Never needed, since nothing is forced."""
        return []


def written(schema: Any) -> str:
    """A schema as JSON text, with the options that llguidance reads in it.

    Raises:
        Unusable: it is no JSON object, or too large.
    """
    if not isinstance(schema, dict):
        raise Unusable("a schema is a JSON object")
    if "x-guidance" in schema:
        raise Unusable("x-guidance is not taken")
    try:
        size = len(json.dumps(schema, allow_nan=False))
        text = json.dumps({**schema, "x-guidance": _OPTIONS})
    except (TypeError, ValueError, RecursionError) as error:
        raise Unusable(f"it is no JSON ({type(error).__name__})") from None
    if size > LARGEST:
        raise Unusable(f"it has {size} bytes; at most {LARGEST} are taken")
    return text


def tokenizer(pieces: Sequence[bytes | None], end: int) -> Any:
    """The ``LLTokenizer`` of a vocabulary."""
    from llguidance import LLTokenizer

    return LLTokenizer(Tokens(pieces, end), slices=[])  # type: ignore[arg-type]


def matcher(tokens: Any, text: str) -> Any:
    """The ``LLMatcher`` of a schema as ``written`` gives it.

    Raises:
        Unusable: it has keywords that cannot be held, or is too complex.
    """
    from llguidance import LLMatcher, LLParserLimits

    made = LLMatcher(tokens, LLMatcher.grammar_from_lark(_LARK + text), log_level=0, limits=LLParserLimits(**_LIMITS))
    if made.is_error():
        raise Unusable(reason(made.get_error()))
    warnings = made.get_grammar_warnings()
    if warnings:
        raise Unusable(reason(str(warnings[0])))
    return made


def reason(said: str) -> str:
    """An error of llguidance in one line."""
    line = _PLACE.sub("", " ".join(said.replace("<non-verbose/>", "").split(_SOURCE)[0].split()))
    return line[:300].rstrip(" :;") or "unknown"


def main() -> int:
    """Compile the schema of stdin for a vocabulary of all bytes; prints why it cannot be used, nothing where it can."""
    try:
        import resource

        most = MEBIBYTES * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except ImportError:
        pass  # not on Windows, where the one who asks looks at the clock alone
    try:
        text = sys.stdin.buffer.read().decode()
        made = matcher(tokenizer([bytes([i]) for i in range(256)] + [None], 256), text)
        made.compute_bitmask()
        if made.is_error():
            raise Unusable(reason(made.get_error()))
    except Unusable as error:
        sys.stdout.write(str(error))
    except MemoryError:
        sys.stdout.write(TOO_COMPLEX)
    return 0


if __name__ == "__main__":
    sys.exit(main())
