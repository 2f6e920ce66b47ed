"""``import mmkit`` makes transformers know mmkit's models, and imports neither transformers nor torch for it.

transformers keeps a table of model types in one module. Where that is loaded already the type is entered at once, else when it
is. The class of the model and that of the processor are entered when a configuration is read.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

TABLE = "transformers.models.auto.configuration_auto"


def announce() -> None:
    """Enter the model type now, or as soon as there is a table for it. May be called again."""
    if TABLE in sys.modules:
        _enter()
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _enter() -> None:
    import_module("mmkit.exchange.hf_config").register_config()


class _Finder(MetaPathFinder):
    """Finds one module, once, and lets the others find it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The table's spec, with a loader that enters the model type afterwards."""
        if fullname != TABLE:
            return None
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
        """Run it, then enter the model type."""
        self.own.exec_module(module)
        _enter()
