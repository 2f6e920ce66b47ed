"""The spec's view: records, schema, and errors at the key that is wrong."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from mmkit_text.plugin import VOCABULARIES_AND_ENCODERS, mmkit_components

import mmkit
from mmkit.discovery.loader import discover
from mmkit.registry.registry import Registry
from mmkit.wiring.graph import import_path
from mmkit.wiring.schema import json_schema

SPEC = """mmkit: 1
modalities:
  text:
    encoder:
      use: {encoder}
      vocabulary:
        {vocabulary}
tasks:
  kind: {{input: "{{text}}", output: "{{label}}", head: {{use: classify, labels: [a, b]}}}}
"""


def problems(folder: Path, vocabulary: str, encoder: str = "lstm") -> list[str]:
    path = folder / "spec.yaml"
    path.write_text(SPEC.format(encoder=encoder, vocabulary=vocabulary))
    with pytest.raises(mmkit.SpecError) as caught:
        mmkit.check(path, static=True)
    return [f"{p.line}: {p.path}: {p.message}" for p in caught.value.problems]


WHERE = "modalities.text.encoder.vocabulary"
CASES = [
    ("{use: bpe, vocab_siz: 500}", [f"7: {WHERE}.vocab_siz: unknown key 'vocab_siz': did you mean 'vocab_size'?"]),
    ("{use: characters, min_frequency: 2}", None),
    ("{use: bp}", [f"7: {WHERE}.use: unknown vocabulary 'bp': did you mean 'bpe'?"]),
    (
        "{lowercase: true}",
        [f"6: {WHERE}: a vocabulary says what it is with use: words | characters | bpe | tokenizer"],
    ),
    ("{use: tokenizer}", [f"6: {WHERE}: give exactly one of path and hub"]),
    (
        "{use: words, vocab_size: 3, lowercase: maybe}",
        [
            f"7: {WHERE}.vocab_size: Input should be greater than 4 (got 3)",
            f"7: {WHERE}.lowercase: Input should be a valid boolean, unable to interpret input (got 'maybe')",
        ],
    ),
]


@pytest.mark.parametrize(("vocabulary", "expected"), CASES)
@pytest.mark.parametrize("encoder", ["lstm", "transformer"])
def test_a_wrong_key_is_found_where_it_stands(
    tmp_path: Path, vocabulary: str, expected: list[str] | None, encoder: str
) -> None:
    if expected is None:
        allowed = "allowed: lowercase, max_length, max_size, use"
        expected = [f"7: {WHERE}.min_frequency: unknown key 'min_frequency': {allowed}"]
    assert problems(tmp_path, vocabulary, encoder) == expected


def test_hf_text_says_what_it_needs(tmp_path: Path) -> None:
    found = problems(tmp_path, "{use: bpe}", "hf-text")
    assert found == ["4: modalities.text.encoder: give exactly one of path, hub and config"]


def test_a_relative_path_starts_at_the_spec(tmp_path: Path) -> None:
    from mmkit.wiring.planner import plan

    path = tmp_path / "spec.yaml"
    path.write_text(SPEC.format(encoder="gru", vocabulary="{use: tokenizer, path: t/tokenizer.json}"))
    encoder = plan(path, discover()).modalities["text"].encoder
    assert encoder is not None
    config: Any = encoder.config
    assert config.vocabulary.path == tmp_path / "t" / "tokenizer.json"


def test_the_schema_lists_the_vocabularies_options() -> None:
    reports = [report for report in discover().reports if report.name == "text"]
    schema = json_schema(Registry(reports))["$defs"]
    assert {"WordsVocabulary", "CharactersVocabulary", "BpeVocabulary", "TokenizerVocabulary"} <= schema.keys()
    assert "vocab_size" in schema["BpeVocabulary"]["properties"]


def test_every_record_can_be_imported_and_every_field_is_described() -> None:
    assert len(VOCABULARIES_AND_ENCODERS) == 8
    for component in VOCABULARIES_AND_ENCODERS:
        config = import_path(component.config)
        assert callable(import_path(component.builder))
        assert all(field.description for field in config.model_fields.values())


def test_configs_import_no_torch() -> None:
    code = (
        "import sys, mmkit_text.plugin, mmkit_text.config, mmkit_text.encoder_config\n"
        "heavy = [m for m in ('torch', 'transformers', 'tokenizers', 'numpy') if m in sys.modules]\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_readmes_snippets_are_right() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    registry, shown = discover(), set()
    for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        data = yaml.safe_load(block)
        parts = [("backbone", data["backbone"])] if "backbone" in data else []
        for modality in data.get("modalities", {}).values():
            parts += [("encoder" if key == "encoder" else "vocabulary", given) for key, given in modality.items()]
        assert parts
        for kind, given in parts:
            component = registry.find((kind,), f"text/{given.pop('use')}")
            import_path(component.config).model_validate(given)
            shown.add((kind, component.name))
    assert shown == {(component.kind, component.name) for component in mmkit_components()}
