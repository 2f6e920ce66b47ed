"""What a pretrained language model saw around prompt and answer: ids before the prompt, a begin id between or none."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mmkit import Ragged, SampleError


@dataclass(frozen=True)
class Frame:
    """How a prompt and a target become one sequence.

    Attributes:
        prefix: ids before every prompt. begin: the target's begin id stands between; without it the first id of a target is
            predicted from the prompt's last token.
    """

    prefix: tuple[int, ...] = ()
    begin: bool = True

    def prefixed(self, prompt: Ragged, embed: Callable[[Tensor], Tensor]) -> Ragged:
        """The prompts behind the prefix."""
        if not self.prefix or not len(prompt):
            return prompt
        rows = embed(torch.tensor(self.prefix, device=prompt.device)).to(prompt.values.dtype)
        sizes = [len(rows) + size for size in prompt.sizes]
        return Ragged.sized(torch.cat([part for item in prompt.split() for part in (rows, item)]), sizes)

    def begun(self, prompt: Ragged, target: Ragged) -> tuple[Ragged, Ragged]:
        """Prompt and target as they are read: without a begin id the prompt's last token stands in its place."""
        if self.begin or not len(prompt):
            return prompt, target
        kept, last = self.kept(prompt)
        assert last is not None
        rows = [
            torch.cat([one.to(item.dtype), item[1:]]) if len(item) else item
            for one, item in zip(last.split(1), target.split(), strict=True)
        ]
        return kept, Ragged.sized(torch.cat(rows), target.sizes)

    def kept(self, prompt: Ragged) -> tuple[Ragged, Tensor | None]:
        """The prompts without the token that the first id is predicted from, and that token, Float["items token_dim"].

        Raises:
            SampleError: a prompt is empty.
        """
        if self.begin or not len(prompt):
            return prompt, None
        if min(prompt.sizes) == 0:
            raise SampleError(
                f"sample {prompt.sizes.index(0)} of the batch has an empty prompt, and begin: false predicts from its last "
                "token; fix: put some text into the task's input, or begin: true"
            )
        items = prompt.split()
        sizes = [size - 1 for size in prompt.sizes]
        return Ragged.sized(torch.cat([item[:-1] for item in items]), sizes), torch.stack([item[-1] for item in items])


PLAIN = Frame()
