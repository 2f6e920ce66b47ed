"""What is done when a module is imported, without importing it: ``import mmkit`` loads neither transformers nor torch.

transformers keeps a table of model types in one module, and one of pipelines in another. Where they are loaded already our
entries are made at once, else when they are. The class of the model and that of the processor are entered when a configuration
is read.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any, TypeVar, cast

Method = TypeVar("Method", bound=Callable[..., Any])

TABLES = {
    "transformers.models.auto.configuration_auto": ("mmkit.exchange.hf_config", "register_config"),
    "transformers.pipelines": ("mmkit.exchange.hf_register", "register_pipeline"),
}
"""Module with a table → module and function that make our entry in it."""


def announce() -> None:
    """Make the entries now, or as soon as there are tables for them. May be called again."""
    for table, entry in TABLES.items():
        after(table, _Entry(*entry))


def after(module: str, then: Callable[[], Any]) -> None:
    """Call ``then`` once ``module`` is imported: now where it is, else when it is. An equal call that waits already is not
    made twice."""
    if module in sys.modules:
        then()
        return
    finder = next((finder for finder in sys.meta_path if isinstance(finder, _Finder)), None)
    if finder is None:
        finder = _Finder()
        sys.meta_path.insert(0, finder)
    calls = finder.waiting.setdefault(module, [])
    if then not in calls:
        calls.append(then)


def uncompiled(method: Method) -> Method:
    """Decorates a method that ``torch.compile`` leaves as it is: ``torch.compiler.disable`` without importing the compiler, which
    takes as long as torch itself. The method is a plain one until the compiler is imported; before that nothing is compiled."""
    return cast("Method", _Uncompiled(method))


class _Uncompiled:
    def __init__(self, method: Callable[..., Any]) -> None:
        self.method = method

    def __set_name__(self, owner: type, name: str) -> None:
        setattr(owner, name, self.method)
        after("torch._dynamo", lambda: self._disable(owner, name))

    def _disable(self, owner: type, name: str) -> None:
        import torch

        setattr(owner, name, torch.compiler.disable(self.method))


@dataclass(frozen=True)
class _Entry:
    module: str
    function: str

    def __call__(self) -> None:
        getattr(import_module(self.module), self.function)()


class _Finder(MetaPathFinder):
    """Finds the modules that are waited for, each once, and lets the others find them."""

    def __init__(self) -> None:
        self.waiting: dict[str, list[Callable[[], Any]]] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's spec, with a loader that makes the calls afterwards."""
        if fullname not in self.waiting:
            return None
        calls = self.waiting.pop(fullname)
        if not self.waiting:
            sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, calls)
        return spec


class _Loader(Loader):
    """Runs the module as its own loader does."""

    def __init__(self, own: Loader, calls: Sequence[Callable[[], Any]]) -> None:
        self.own, self.calls = own, calls

    def __getattr__(self, name: str) -> object:
        return getattr(self.own, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As its own loader."""
        return self.own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run it, then make the calls."""
        self.own.exec_module(module)
        for call in self.calls:
            call()
