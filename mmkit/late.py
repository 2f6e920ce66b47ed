"""``import mmkit`` makes transformers know mmkit's models, and imports neither transformers nor torch for it.

transformers keeps a table of model types in one module, and one of pipelines in another. Where they are loaded already the
entries are made at once, else when they are. The class of the model and that of the processor are entered when a configuration
is read.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

TABLES = {
    "transformers.models.auto.configuration_auto": ("mmkit.exchange.hf_config", "register_config"),
    "transformers.pipelines": ("mmkit.exchange.hf_register", "register_pipeline"),
}
"""Module with a table → module and function that make our entry in it."""


def announce() -> None:
    """Make the entries now, or as soon as there are tables for them. May be called again."""
    for table in TABLES:
        if table in sys.modules:
            _enter(table)
    waiting = set(TABLES) - set(sys.modules)
    if waiting and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(waiting))


def _enter(table: str) -> None:
    module, function = TABLES[table]
    getattr(import_module(module), function)()


class _Finder(MetaPathFinder):
    """Finds the modules that have yet to be loaded, each once, and lets the others find them."""

    def __init__(self, waiting: set[str]) -> None:
        self.waiting = waiting

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The table's spec, with a loader that makes our entry afterwards."""
        if fullname not in self.waiting:
            return None
        self.waiting.remove(fullname)
        if not self.waiting:
            sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    """Runs the module as its own loader does."""

    def __init__(self, own: Loader) -> None:
        self.own = own

    def __getattr__(self, name: str) -> object:
        return getattr(self.own, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As its own loader."""
        return self.own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run it, then make our entry."""
        self.own.exec_module(module)
        _enter(module.__name__)
