"""A saved model as a folder of transformers, and back; each is read again and compared before it counts as written."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import torch

from mmkit.errors import CheckpointError, MmkitError
from mmkit.exchange.card import CARD, card_of
from mmkit.exchange.card_license import license_of
from mmkit.exchange.hf_model import MmkitModel
from mmkit.exchange.hf_processor import MmkitProcessor
from mmkit.model.checkpoint import load
from mmkit.model.model import Model
from mmkit.training.figures import Kept


@contextmanager
def fresh_folder(out: Path) -> Iterator[Path]:
    """A folder to write into, which becomes ``out`` when all has gone well.

    Raises:
        MmkitError: ``out`` is there already, and not empty.
    """
    out = out.resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise MmkitError(f"{out} is there already; name a folder that is not, or remove it")
    out.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(mkdtemp(prefix=f".{out.name}.writing-", dir=out.parent))
    try:
        yield staged
        if out.exists():
            out.rmdir()
        staged.chmod(0o755)
        staged.rename(out)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def export_hf(
    model: Model,
    out: Path,
    *,
    task: str | None = None,
    bare: bool = False,
    figures: Sequence[Kept] = (),
    name: str | None = None,
    license: str | None = None,  # noqa: A002
    license_name: str | None = None,
    license_link: str | None = None,
) -> int:
    """Write a model as transformers reads it, with its card; the number of tensors that were read back bit for bit.

    Args:
        task: that is meant where inputs name none. bare: without the spec's sections ``data`` and ``train``.
        figures: measured on this very model, for the card. name: of the repository it is for; default: that of ``out``.
        license, license_name, license_link: for the card, as the hub has them.

    Raises:
        MmkitError: the folder is there already, there is no such task or license, a name is none that transformers can read, or
            what was read back differs.
    """
    stated = license_of(license, license_name, license_link)
    with fresh_folder(out) as folder:
        wrapped = MmkitModel.of(model, task, bare)
        _check_names(model)
        wrapped.save_pretrained(folder)
        card_of(model, wrapped.config, name or out.name, figures, stated).save(folder / CARD)
        MmkitProcessor.from_pretrained(folder)
        return same(model, MmkitModel.from_pretrained(folder).core)


def _check_names(model: Model) -> None:
    """transformers takes parentheses in the names of weights for groups of a regular expression."""
    odd = next((name for name in model.nodes() if set(name) & set("()")), None)
    if odd is not None:
        raise MmkitError(
            f"transformers cannot load weights with parentheses in their names: {odd!r}; give it another name"
        )


def import_hf(folder: Path, out: Path) -> Model:
    """A folder that ``export_hf`` or ``save_pretrained`` wrote as a saved model again.

    Raises:
        CheckpointError: it cannot be read. MmkitError: what was read back differs.
    """
    try:
        model: Model = MmkitModel.from_pretrained(folder).core
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{folder} cannot be read: {str(error).splitlines()[0]}") from error
    with fresh_folder(out) as staged:
        staged.rmdir()
        model.save(staged)
        same(model, load(staged))
    return model


def same(model: Model, again: Model) -> int:
    """How many tensors two models share bit for bit: all of them.

    Raises:
        MmkitError: one differs.
    """
    ours, theirs = dict(_tensors(model)), dict(_tensors(again))
    odd = sorted(ours.keys() ^ theirs.keys())
    odd += [name for name in ours.keys() & theirs.keys() if not _equal(ours[name], theirs[name])]
    if odd:
        raise MmkitError(f"what was written is not what was read back: {odd[0]} differs ({len(odd)} tensors in all)")
    return len(ours)


def _tensors(model: Model) -> Iterator[tuple[str, torch.Tensor]]:
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    one, other = one.detach().cpu(), other.detach().cpu()
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    bits = (tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other))
    return torch.equal(*bits)
