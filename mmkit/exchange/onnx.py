"""Graphs in files: torch.export's ``.pt2`` and ONNX, compared with the model before they count as written."""

import json
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmkit.errors import MmkitError
from mmkit.exchange.graph import OneSample, Signature, example_row, exported
from mmkit.exchange.hf_export import fresh_folder
from mmkit.model.model import Model

TOLERANCE = 1e-4
Runner = Callable[[Sequence[Tensor]], Sequence[Tensor]]


def export_graph(
    model: Model,
    out: Path,
    task: str,
    form: str,
    row: Mapping[str, Any] | None = None,
    tolerance: float = TOLERANCE,
) -> float:
    """Write ``model.pt2`` or ``model.onnx`` and ``signature.json``; the largest difference from the model.

    Args:
        form: ``torch`` or ``onnx``. row: says the shapes; default: the components' examples.
        tolerance: largest difference of an output, relative to its largest value where that is over 1.

    Raises:
        MmkitError: the task cannot be exported, a library is missing, or the file computes something else.
    """
    model = model.cpu().float().eval()
    model.known(task)
    one = OneSample(model, task, row if row is not None else example_row(model, task))
    signature = one.signature()
    with fresh_folder(out) as folder:
        program = exported(one)
        run = (_write_torch if form == "torch" else _write_onnx)(program, folder, signature)
        worst = difference(one, run)
        if worst > tolerance:
            raise MmkitError(
                f"the exported graph differs from the model by {worst:.2g}, more than {tolerance:g}; nothing was written"
            )
        said = {"task": task, "mmkit": model.plan.spec.mmkit, **signature.described(), "difference": worst}
        labels = getattr(model.parts.heads[task], "labels", None)
        if isinstance(labels, list):
            said["labels"] = labels
        (folder / "signature.json").write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return worst


def difference(one: OneSample, run: Runner) -> float:
    """The largest over the row and rows of other values; of outputs over 1, relative to the largest."""
    worst = 0.0
    for inputs in one.others():
        with torch.no_grad():
            wanted = one(*inputs)
        for ours, theirs in zip(wanted, run(inputs), strict=True):
            if ours.shape != theirs.shape or not theirs.isfinite().all():
                return float("inf")
            scale = max(1.0, float(ours.abs().max())) if ours.numel() else 1.0
            worst = max(worst, float((ours - theirs).abs().max()) / scale if ours.numel() else 0.0)
    return worst


def _write_torch(program: torch.export.ExportedProgram, folder: Path, signature: Signature) -> Runner:
    path = folder / "model.pt2"
    torch.export.save(program, path)
    loaded: Any = torch.export.load(path).module()
    return lambda inputs: loaded(*inputs)


def _write_onnx(program: torch.export.ExportedProgram, folder: Path, signature: Signature) -> Runner:
    session_of = _onnxruntime()
    path, names = folder / "model.onnx", list(signature.inputs)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            made: Any = torch.onnx.export(
                program, dynamo=True, verbose=False, input_names=names, output_names=list(signature.outputs)
            )
            made.save(str(path))
    except Exception as error:
        raise MmkitError(
            f"ONNX cannot express this task: {_cause(error)}; mmkit export torch has what torch.export can follow"
        ) from error
    session = session_of(str(path))
    inputs_of = [one.name for one in session.get_inputs()]

    def run(inputs: Sequence[Tensor]) -> list[Tensor]:
        named = dict(zip(names, (tensor.numpy() for tensor in inputs), strict=True))
        return [torch.from_numpy(given) for given in session.run(None, {name: named[name] for name in inputs_of})]

    return run


def _cause(error: BaseException) -> str:
    """The innermost reason, one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"


def _onnxruntime() -> Any:
    """Makes a session of a file.

    Raises:
        MmkitError: a library is missing.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MmkitError(
            f'exporting to ONNX needs {error.name}, which is not installed; fix: pip install "mmkit[onnx]"'
        ) from None
    return lambda path: onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
