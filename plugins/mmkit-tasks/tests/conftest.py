"""Shapes in signatures are enforced; helpers shared by the tests of this plugin."""

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from jaxtyping import install_import_hook

_HOOK = install_import_hook(["mmkit_tasks"], "beartype.beartype")

import torch  # noqa: E402
from accelerate import init_empty_weights  # noqa: E402
from torch import nn  # noqa: E402

import mmkit  # noqa: E402
from mmkit import BuildContext, Ragged  # noqa: E402
from mmkit.discovery.loader import discover  # noqa: E402
from mmkit.registry.registry import Registry  # noqa: E402
from mmkit.wiring.graph import import_path  # noqa: E402

Make = Callable[..., Any]


class Characters(mmkit.VocabularyAdapter):
    """Lower-case letters and space; begin 0, end 1."""

    alphabet = " abcdefghijklmnopqrstuvwxyz"
    size = len(alphabet) + 2
    begin_id, end_id = 0, 1

    def encode(self, raw: Any) -> list[int]:
        if not isinstance(raw, str):
            raise mmkit.SampleError(f"text must be a str, got {type(raw).__name__}")
        return [self.alphabet.index(c) + 2 for c in raw]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self.alphabet[i - 2] for i in ids if i >= 2)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def characters() -> Characters:
    return Characters()


@pytest.fixture(scope="session")
def registry() -> Registry:
    return discover()


@pytest.fixture
def make(registry: Registry) -> Make:
    """A component of this plugin, built as the core builds it: record, validated config, builder."""

    def build(name: str, context: BuildContext | None = None, /, **config: Any) -> Any:
        component = registry.find(("head", "adapter", "metric"), f"tasks/{name}")
        settings = import_path(component.config).model_validate(config)
        options = {field: getattr(settings, field) for field in type(settings).model_fields}
        return import_path(component.builder)(context or BuildContext(), **options)

    return build


@pytest.fixture
def rebuilt(make: Make) -> Make:
    """The component as a checkpoint brings it back: on the meta device, then weights assigned; pickled on the way."""

    def rebuild(original: nn.Module, name: str, context: BuildContext, **config: Any) -> Any:
        with init_empty_weights(include_buffers=False):
            again = make(name, context, **config)
        again.load_state_dict(original.state_dict(), assign=True)
        assert not any(p.is_meta for p in [*again.parameters(), *again.buffers()])
        return pickle.loads(pickle.dumps(again)).eval()

    return rebuild


@pytest.fixture
def items() -> Callable[..., Ragged]:
    """Random items of these sizes."""

    def draw(sizes: Sequence[int], dim: int, seed: int = 0) -> Ragged:
        generator = torch.Generator().manual_seed(seed)
        return Ragged(torch.randn(sum(sizes), dim, generator=generator), torch.tensor(list(sizes)))

    return draw
