"""Tokenizer files: a ``tokenizer.json``, a folder in the hub's form, or a name on the hub."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from mmkit import PluginError
from mmkit_text.texts import nearest

_BESIDE = ("tokenizer_config.json", "special_tokens_map.json", "config.json")
_BEGIN = ("<s>", "<|begin_of_text|>", "<bos>", "<|startoftext|>", "[CLS]", "<|im_start|>", "<|endoftext|>")
_END = ("</s>", "<|end_of_text|>", "<eos>", "<|im_end|>", "<|endoftext|>", "[SEP]")


@dataclass(frozen=True)
class TokenizerFiles:
    """What the files say.

    Attributes:
        name: for messages. text: the content of ``tokenizer.json``.
        settings: ``special_tokens_map.json`` and ``tokenizer_config.json``. config: the model's ``config.json``.
    """

    name: str
    text: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)

    def tokenizer(self) -> Tokenizer:
        """A fresh tokenizer without truncation and padding.

        Raises:
            PluginError: the text is no ``tokenizer.json``.
        """
        try:
            tokenizer = Tokenizer.from_str(self.text)
        except Exception as error:
            raise PluginError(f"{self.name} is no tokenizer.json that can be read ({first_line(error)})") from None
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    def setting(self, key: str) -> str | None:
        """A token of the settings; written as a string or as ``{content: …}``."""
        return content(self.settings.get(key))


def read_files(path: Path | None, hub: str | None) -> TokenizerFiles:
    """Read from exactly one of both.

    Raises:
        PluginError: nothing there, or no tokenizer.
    """
    if path is None:
        assert hub is not None
        return _files(repr(hub), {name: _cached(hub, name) for name in ("tokenizer.json", *_BESIDE)}, hub)
    if not path.exists():
        near = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise PluginError(f"tokenizer {str(path)!r}: no such file or folder; {_hint(path.name, near)}")
    folder = path if path.is_dir() else path.parent
    found = {name: folder / name if (folder / name).is_file() else None for name in _BESIDE}
    main = path / "tokenizer.json" if path.is_dir() else path
    return _files(repr(str(path)), {"tokenizer.json": main if main.is_file() else None, **found}, str(folder))


def _hint(name: str, near: list[str]) -> str:
    return nearest(name, near) if near else "its folder is empty or missing"


def _cached(hub: str, name: str) -> Path | None:
    from transformers.utils.hub import cached_file

    try:
        found = cached_file(hub, name, _raise_exceptions_for_missing_entries=False)
    except Exception as error:
        raise PluginError(f"{name} of {hub!r} cannot be fetched from the hub ({first_line(error)})") from None
    return Path(found) if found else None


def _files(name: str, found: Mapping[str, Path | None], source: str) -> TokenizerFiles:
    said = {key: _json(found[key]) for key in _BESIDE}
    settings = {**said["special_tokens_map.json"], **said["tokenizer_config.json"]}
    main = found["tokenizer.json"]
    if main is not None:
        text = main.read_text("utf-8", errors="replace")
    else:
        text, named = _converted(name, source)
        settings = {**named, **settings}
    return TokenizerFiles(name, text, settings, said["config.json"])


def _converted(name: str, source: str) -> tuple[str, dict[str, str]]:
    """A tokenizer of an older form (``vocab.txt``, ``merges.txt``, SentencePiece), converted by transformers."""
    from transformers import AutoTokenizer

    try:
        made: Any = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        text = made.backend_tokenizer.to_str()
    except Exception as error:
        raise PluginError(
            f"{name}: no tokenizer.json can be had, and transformers finds no other tokenizer there ({first_line(error)})"
        ) from None
    return text, {key: str(value) for key, value in made.special_tokens_map.items() if isinstance(value, str)}


def _json(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise PluginError(f"{os.fspath(path)!r} is not valid JSON ({first_line(error)})") from None
    if not isinstance(value, dict):
        raise PluginError(f"{os.fspath(path)!r} is not a JSON object but a {type(value).__name__}")
    return value


def content(token: Any) -> str | None:
    """The string of a token as the settings write it."""
    value = token.get("content") if isinstance(token, dict) else token
    return value if isinstance(value, str) else None


def begin_and_end(files: TokenizerFiles, tokens: Mapping[str, int], begin: str | None, end: str | None) -> list[int]:
    """Ids that begin and end a text: those given, those the files name, else well-known ones.

    Raises:
        PluginError: a given token is unknown, or nothing is named.
    """
    model = {**(files.config.get("text_config") or {}), **files.config}
    named_begin = [model.get("decoder_start_token_id"), files.setting("bos_token"), model.get("bos_token_id")]
    named_end = [files.setting("eos_token"), model.get("eos_token_id"), files.setting("sep_token")]
    return [
        _chosen("begin", "bos", files.name, tokens, begin, [*named_begin, files.setting("cls_token"), *_BEGIN]),
        _chosen("end", "eos", files.name, tokens, end, [*named_end, *_END]),
    ]


def _chosen(
    side: str, short: str, name: str, tokens: Mapping[str, int], given: str | None, candidates: list[Any]
) -> int:
    if given is not None:
        if given not in tokens:
            raise PluginError(f"{side}: the tokenizer {name} has no token {given!r}; {nearest(given, tokens)}")
        return tokens[given]
    ids = set(tokens.values())
    for candidate in candidates:
        one = candidate[0] if isinstance(candidate, list) and candidate else candidate
        if isinstance(one, str) and one in tokens:
            return tokens[one]
        if isinstance(one, int) and one in ids:
            return one
    raise PluginError(
        f"the tokenizer {name} names no {side} token: no {short}_token in tokenizer_config.json, no {short}_token_id in "
        f"config.json and none of the usual names; give one of its tokens, {side}: …"
    )


def first_line(error: Exception) -> str:
    """Type and first line of another library's error."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
