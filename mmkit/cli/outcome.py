"""What an exception means to the user: one message and an exit code."""

import re

from mmkit.errors import MmkitError, TrainingError

DONE, FAILED, WRONG_INPUT, INTERNAL, INTERRUPTED, READER_GONE, TERMINATED = 0, 1, 2, 70, 130, 141, 143

EPILOG = (
    "Exit codes: 0 done · 1 a run failed (training stopped, disk full, no permission) · 2 wrong input (command line, "
    "spec, data, saved model) · 70 an error in mmkit or a plugin · 130 interrupted · 141 the reader of the output is gone "
    "· 143 terminated"
)


class ReaderGoneError(Exception):
    """Whatever read our output has closed it (``mmkit components | head``)."""


def outcome(error: BaseException) -> tuple[str, int]:
    """The message to print (empty: none) and the exit code."""
    if isinstance(error, MmkitError):
        failed = isinstance(error, TrainingError) or isinstance(error.__cause__, OSError)
        return f"error: {_said(error)}", FAILED if failed else WRONG_INPUT
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", INTERRUPTED
    if isinstance(error, ReaderGoneError | BrokenPipeError):
        return "", READER_GONE
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"error: {where}{error.strerror or error}", FAILED
    if isinstance(error, MemoryError):
        return "error: out of memory", FAILED
    if hasattr(error, "format_message"):  # typer's own: it brings its own copy of click
        return _usage(error), WRONG_INPUT
    said = _said(error).splitlines()
    name = f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
    return f"error: {name} (unexpected: run again with --debug, and please report it)", INTERNAL


def _said(error: BaseException) -> str:
    """The message; of one that comes from a data worker only that, without the worker's traceback around it."""
    message, traceback, trace = str(error).strip().partition("Original Traceback (most recent call last):")
    if not traceback:
        return message
    return re.split(r"\n(?=\S)", trace.strip())[-1].partition(": ")[2]


def _usage(error: BaseException) -> str:
    message: str = error.format_message()  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    hint = f"\n  see: {context.command_path} --help" if context is not None else ""
    return f"error: {message}{hint}"
