"""Errors are one message and an exit code; tracebacks come only with ``--debug``."""

import errno
from pathlib import Path

import pytest
import torch.utils.data

import mmkit.wiring.check
from mmkit.cli.outcome import outcome
from mmkit.errors import DataError, MmkitError, TrainingError
from tests.cli.conftest import Run


def failing(error: BaseException) -> object:
    def check(*arguments: object, **options: object) -> None:
        raise error

    return check


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (TrainingError("the loss is NaN"), 1, "error: the loss is NaN"),
        (MmkitError("no such thing"), 2, "error: no such thing"),
        (OSError(errno.ENOSPC, "No space left on device", "m/x"), 1, "error: m/x: No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "m"), 1, "error: m: Permission denied"),
        (OSError("the socket is gone"), 1, "error: the socket is gone"),
        (MemoryError(), 1, "error: out of memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (BrokenPipeError(), 141, ""),
        (
            ZeroDivisionError("division by zero\nsecond line"),
            70,
            "error: ZeroDivisionError: division by zero (unexpected: run again with --debug, and please report it)",
        ),
        (AssertionError(), 70, "error: AssertionError (unexpected: run again with --debug, and please report it)"),
    ],
)
def test_every_kind_of_error_has_its_code_and_no_traceback(
    run: Run, spec: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, message: str
) -> None:
    assert outcome(error) == (message, code)
    monkeypatch.setattr(mmkit.wiring.check, "check", failing(error))
    done = run("check", spec)
    assert (done.code, done.out, done.err) == (code, "", f"{message}\n" if message else "")


def test_the_traceback_of_a_data_worker_is_left_out() -> None:
    class Failing(torch.utils.data.Dataset[int]):
        def __init__(self, error: Exception) -> None:
            self.error = error

        def __getitem__(self, index: int) -> int:
            raise self.error

        def __len__(self) -> int:
            return 1

    for error, expected in (
        (DataError("rows.jsonl:3: bad\n  fix: mend it"), ("error: rows.jsonl:3: bad\n  fix: mend it", 2)),
        (
            ValueError("odd: 3"),
            ("error: ValueError: odd: 3 (unexpected: run again with --debug, and please report it)", 70),
        ),
    ):
        with pytest.raises(type(error)) as caught:
            list(torch.utils.data.DataLoader(Failing(error), num_workers=1))
        assert outcome(caught.value) == expected


@pytest.mark.parametrize("place", [0, 1, 2])
def test_debug_shows_the_traceback_from_anywhere_on_the_line(
    run: Run, spec: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    monkeypatch.setattr(mmkit.wiring.check, "check", failing(ZeroDivisionError("division by zero")))
    line: list[object] = ["check", spec]
    line.insert(place, "--debug")
    done = run(*line)
    assert done.code == 70
    assert done.err.startswith("Traceback (most recent call last):")
    assert done.err.endswith(
        "error: ZeroDivisionError: division by zero (unexpected: run again with --debug, and please report it)\n"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["chek"], "No such command 'chek'. Did you mean 'check', 'cache', 'schema'?\n  see: mmkit --help"),
        (["check"], "Missing argument 'SPEC'.\n  see: mmkit check --help"),
        (["check", "a", "b"], "Got unexpected extra argument(s) (b)\n  see: mmkit check --help"),
        (
            ["evaluate", "m", "--limit", "0"],
            "Invalid value for '--limit': Input should be greater than or equal to 1\n  see: mmkit evaluate --help",
        ),
        (
            ["evaluate", "m", "--limt", "1"],
            "No such option: --limt (Possible options: --limit)\n  see: mmkit evaluate --help",
        ),
        (["evaluate", "m", "--part", "tets"], "there is no part 'tets': did you mean 'test'?"),
        (["components", "--kind", "enc"], "there is no kind 'enc': did you mean 'encoder'?"),
        (
            ["check", "none.yaml"],
            "the spec has 1 problem:\n  (top): cannot read none.yaml: No such file or directory\n"
            "    fix: give the path of a YAML or JSON file",
        ),
    ],
)
def test_a_wrong_line_ends_with_two(run: Run, line: list[str], message: str) -> None:
    done = run(*line)
    assert (done.code, done.out, done.err) == (2, "", f"error: {message}\n")


def test_help_names_the_exit_codes_and_comes_without_a_command(run: Run) -> None:
    done = run()
    assert done.code == 0
    assert done.err == ""
    text = " ".join(done.out.split())
    assert "0 done · 1 a run failed" in text
    assert "130 interrupted" in text
    assert done == run("--help")
    assert run("--version").out == f"mmkit {mmkit.__version__}\n"
