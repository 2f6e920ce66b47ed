"""The vocabulary inside an encoder's settings, built."""

from dataclasses import replace
from importlib import import_module

from mmkit import BuildContext, Config, VocabularyAdapter


def build_vocabulary(context: BuildContext, config: Config) -> VocabularyAdapter:
    """Build by the config's ``use``; under assets from their folder ``vocabulary``."""
    options = {name: getattr(config, name) for name in type(config).model_fields}
    module = import_module(f"mmkit_text.{options.pop('use')}")
    assets = context.assets / "vocabulary" if context.assets is not None else None
    built = module.build(replace(context, assets=assets), **options)
    assert isinstance(built, VocabularyAdapter)
    return built
