"""What waits for an import of somebody else's."""

import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

import mmkit
from mmkit import late

CODE = """
import sys, torch, mmkit
class Sum:
    @mmkit.uncompiled
    def of(self, x):
        return x.sum()
plain = Sum.of
assert "torch._dynamo" not in sys.modules
assert not hasattr(plain, "_torchdynamo_disable")
graphs = []
def backend(graph, inputs):
    graphs.append(graph.code)
    return graph.forward
total = Sum()
def passed(x):
    y = (x * 2).relu()
    return total.of(y) + 1
compiled = torch.compile(passed, backend=backend)
assert Sum.of is not plain and Sum.of._torchdynamo_disable
assert compiled(torch.ones(3)) == 7
assert any("relu" in graph for graph in graphs), graphs
assert not any("sum" in graph for graph in graphs), graphs
assert torch._dynamo.__spec__.name == "torch._dynamo"
"""


def test_an_uncompiled_method_is_plain_until_something_is_compiled_and_is_then_left_out() -> None:
    code = f"import sys; sys.path[:0] = {sys.path!r}\n{CODE}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_where_the_compiler_is_there_already_the_method_is_left_out_at_once() -> None:
    import torch._dynamo

    class Sum:
        @mmkit.uncompiled
        def of(self, x: torch.Tensor) -> torch.Tensor:
            return x.sum()

    method: Any = Sum.of
    assert method._torchdynamo_disable
    assert Sum().of(torch.ones(2)) == 2


def test_a_call_waits_for_the_import_is_made_once_and_at_once_where_it_is_imported(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "waited_for.py").write_text("value = 1")
    monkeypatch.syspath_prepend(tmp_path)
    calls: list[str] = []

    def first() -> None:
        module: ModuleType = sys.modules["waited_for"]
        calls.append(f"first {module.value}")

    late.after("waited_for", first)
    late.after("waited_for", first)
    late.after("waited_for", lambda: calls.append("second"))
    assert calls == []
    monkeypatch.delitem(sys.modules, "waited_for", raising=False)
    import waited_for  # type: ignore[import-not-found]

    assert waited_for.value == 1
    assert calls == ["first 1", "second"]
    late.after("waited_for", first)
    assert calls == ["first 1", "second", "first 1"]
