"""What the conformance kit tries the vocabularies, encoders and backbones on."""

from pathlib import Path
from typing import Any

from mmkit.testing import Case

_TEXTS = ("a cat sat on the mat", "the dog sat", "a dog and a cat", "mat")
_BAD = (3, b"text", ["a", "list"])
_READ: dict[str, Any] = {"raws": _TEXTS, "bad": _BAD}
_WORDS = {"use": "words", "vocab_size": 40}
_PACKED = {"compiles_whole": "torch's own packed sequences, which dynamo does not trace, run the recurrent layers"}
_DOCUMENTS = {
    "compiles_whole": "attention goes document by document outside the graph, so that new lengths compile nothing anew; "
    "train.compile compiles what lies between"
}
_PADDED = {"compiles_whole": "the batch is padded for transformers by lengths whose values dynamo does not follow"}
_BERT = {
    "model_type": "bert",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}
_LLAMA = {
    "model_type": "llama",
    "vocab_size": 8,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_T5 = {
    "model_type": "t5",
    "vocab_size": 8,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 4,
    "dropout_rate": 0.0,
}


def words() -> list[Case]:
    """Few words."""
    return [Case({"vocab_size": 40}, **_READ)]


def characters() -> list[Case]:
    """All of them."""
    return [Case(**_READ)]


def bpe() -> list[Case]:
    """A few merges."""
    return [Case({"vocab_size": 300}, **_READ)]


def tokenizer() -> list[Case]:
    """A file of the tokenizers library, made here."""
    return [Case(_tokenizer, **_READ)]


def _tokenizer(folder: Path) -> dict[str, Any]:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(_TEXTS, trainer)
    made.save(str(folder / "tokenizer.json"))
    return {"path": folder / "tokenizer.json", "begin": "<s>", "end": "</s>"}


def recurrent() -> list[Case]:
    """Small, on words."""
    return [Case({"vocabulary": _WORDS, "embedding_dim": 8, "hidden_dim": 8}, waive=_PACKED, **_READ)]


def transformer_encoder() -> list[Case]:
    """Small, on words."""
    return [Case({"vocabulary": _WORDS, "dim": 16, "layers": 1, "heads": 2}, waive=_DOCUMENTS, **_READ)]


def hf_text() -> list[Case]:
    """A small BERT, row by row and pooled."""
    return [
        Case({"config": _BERT, "vocabulary": _WORDS}, **_READ),
        Case({"config": _BERT, "vocabulary": _WORDS, "features": "mean", "normalise": True}, name="mean", **_READ),
    ]


def lstm() -> list[Case]:
    """In one direction."""
    return [Case({"embedding_dim": 16, "hidden_dim": 16}, waive=_PACKED)]


def transformer() -> list[Case]:
    """Each form."""
    small = {"dim": 16, "layers": 1, "heads": 2, "dropout": 0.0}
    return [
        Case(small, waive=_DOCUMENTS),
        Case({**small, "prompt": "causal"}, waive=_DOCUMENTS, name="causal"),
        Case({**small, "form": "encoder-decoder"}, waive=_DOCUMENTS, name="encoder-decoder"),
    ]


def causal_lm() -> list[Case]:
    """A small Llama."""
    return [Case({"config": _LLAMA}, waive=_DOCUMENTS)]


def seq2seq_lm() -> list[Case]:
    """A small T5."""
    return [Case({"config": _T5}, waive=_PADDED)]


def none() -> list[Case]:
    """Nothing to learn."""
    return [Case({"dim": 16})]
