"""Samples come out of a worker as they went in, in one shared tensor."""

import multiprocessing as mp
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from rows import build, prepare_in, spec_of
from torch import nn

from mmkit.data.transport import receive, ship
from mmkit.model.batch import Media, Sample
from mmkit.model.weightless import weightless


@pytest.mark.parametrize("rows", [3, 10_000], ids=["in the pipe", "in shared memory"])
def test_every_kind_of_tensor_survives_shipping(rows: int) -> None:
    given = {
        "large": torch.randn(rows, 2),
        "float": torch.randn(3, 4),
        "slice": torch.randn(8, 8)[::2, 1:3],
        "bfloat16": torch.randn(5).bfloat16(),
        "bool": torch.tensor([True, False, True]),
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "complex": torch.randn(3, dtype=torch.complex64),
    }
    data, flat = ship([given, "text", Sample("t", (Media("x", given, 1, 2),), given["scalar"])])
    assert flat.is_shared() if isinstance(flat, torch.Tensor) else rows == 3
    again, text, sample = receive((data, flat))
    assert text == "text"
    for name, tensor in given.items():
        for got in (again[name], sample.parts[0].item[name]):
            assert got.dtype == tensor.dtype
            assert torch.equal(got, tensor)
    assert len({tensor.untyped_storage().data_ptr() for tensor in again.values() if tensor.numel()}) == 1


class Hooked(nn.Module):
    """Weights, a table that the answer needs, a child, and a hook that cannot be pickled."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = 3
        self.child = nn.Linear(1000, 1000)
        self.register_buffer("table", torch.arange(4))
        self.register_forward_hook(lambda *_: None)

    def num_tokens(self, features: int) -> int:
        assert isinstance(self.table, torch.Tensor)
        return features * self.factor + int(self.table[2])


def test_a_weightless_module_answers_the_same_and_leaves_the_original_alone() -> None:
    module = Hooked()
    twin = weightless(module)
    assert (twin.num_tokens(5), module.num_tokens(5)) == (17, 17)
    assert twin.child.weight.device.type == "meta"
    assert module.child.weight.device.type == "cpu"
    assert len(module._forward_hooks) == 1
    assert len(pickle.dumps(twin)) < 5000


def large(folder: Path) -> Any:
    """A model of more than 50 M parameters, in its backbone and adapters."""
    rows = folder / "rows.jsonl"
    rows.write_text('{"text": "a b", "label": "pos", "sensor": [1, 2]}\n' * 20)
    spec = spec_of([{"task": "mood", "path": str(rows)}])
    spec["backbone"] |= {"embedding_dim": 2048, "hidden_dim": 2048}
    spec["modalities"]["sensor"] |= {"adapter": {"use": "mlp", "hidden": 8192}}
    return build(spec)


def test_the_preparer_of_a_large_model_is_small_and_works_in_a_spawned_process(tmp_path: Path) -> None:
    model = large(tmp_path)
    assert sum(p.numel() for p in model.parameters()) > 50_000_000
    preparer = model.preparer()
    assert len(pickle.dumps(preparer)) < 1_000_000
    context = mp.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=prepare_in, args=(queue, preparer))
    process.start()
    try:
        assert queue.get(timeout=120) == ([1], [2, None])
    finally:
        process.join(30)


@pytest.mark.slow
def test_spawned_workers_prepare_what_the_main_process_does(tmp_path: Path) -> None:
    script = tmp_path / "spawned.py"
    script.write_text(f"""
import multiprocessing, sys
from pathlib import Path
sys.path[:0] = [{str(Path(__file__).parent / "support")!r}]
from itertools import islice
import rows

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    first = {{"task": "mood", "path": str(rows.write_rows(Path({str(tmp_path)!r}) / "a.jsonl", 97))}}
    second = {{**first, "streaming": True, "shuffle_buffer": 16}}
    here, spawned = (rows.build(rows.spec_of([first, second], workers=n)) for n in (0, 1))
    one, other = (islice(rows.made(model, "tokens"), 6) for model in (here, spawned))
    assert all(rows.same(a, b) for a, b in zip(one, other, strict=True))
    print("equal")
""")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "equal\n"), done.stderr
