"""Byte-level BPE learnt from the user's data."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from mmkit import BuildContext, VocabularyAdapter
from mmkit_text.pieces import pieces_of
from mmkit_text.texts import checked, usable

BEGIN, END, FIRST = 0, 1, 2


class Bpe(VocabularyAdapter):
    """Byte-pair encoding (Sennrich et al. 2016) over bytes (Radford et al. 2019): any text round-trips exactly.

    Begin is 0, end is 1; the tokenizer itself has no special tokens, so no text can become one. ``size`` is the
    asked size until it is fitted, then the real one.
    """

    begin_id, end_id = BEGIN, END

    def __init__(self, vocab_size: int, lowercase: bool, min_frequency: int, max_length: int | None) -> None:
        self.size = vocab_size
        self.lowercase, self.min_frequency, self.max_length = lowercase, min_frequency, max_length
        self.tokenizer: Tokenizer | None = None

    @property
    def fitted(self) -> bool:
        """Whether merges have been learnt."""
        return self.tokenizer is not None

    def fit(self, raws: Iterable[Any]) -> None:
        """Learn merges; the same texts in the same order give the same vocabulary.

        Raises:
            DataError: there is no text at all.
        """
        tokenizer = Tokenizer(models.BPE())
        if self.lowercase:
            tokenizer.normalizer = normalizers.Lowercase()
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self.size - FIRST,
            min_frequency=self.min_frequency,
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )
        tokenizer.train_from_iterator(usable(raws, "bpe"), trainer)
        self._set(tokenizer)

    def _set(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.size = tokenizer.get_vocab_size() + FIRST

    def encode(self, raw: Any) -> list[int]:
        """Ids of a text, at most ``max_length`` of them; never begin or end.

        Raises:
            SampleError: not a text.
        """
        assert self.tokenizer is not None
        return [FIRST + i for i in self.tokenizer.encode(checked(raw)).ids[: self.max_length]]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids; begin and end are left out."""
        assert self.tokenizer is not None
        return str(self.tokenizer.decode([i - FIRST for i in ids if i >= FIRST]))

    def pieces(self) -> list[bytes | None]:
        """Bytes of the merged pieces."""
        assert self.tokenizer is not None
        return [None] * FIRST + pieces_of(self.tokenizer, self.size - FIRST)

    def save_assets(self, folder: Path) -> None:
        """Write ``tokenizer.json``."""
        assert self.tokenizer is not None
        self.tokenizer.save(str(folder / "tokenizer.json"))


def build(
    context: BuildContext, *, vocab_size: int, lowercase: bool, min_frequency: int, max_length: int | None
) -> Bpe:
    """The vocabulary, with its merges where it was saved before."""
    bpe = Bpe(vocab_size, lowercase, min_frequency, max_length)
    if context.assets is not None:
        bpe._set(Tokenizer.from_file(str(context.assets / "tokenizer.json")))
    return bpe
