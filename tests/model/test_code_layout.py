"""Code numbers as one sequence of ids: the patterns, and which id may follow."""

import random

import pytest
import torch

from mmkit import CodeLayout, MmkitError, SampleError

LAYOUTS = [
    CodeLayout(5, books, longest, shortest, pattern)
    for pattern in ("flat", "delay")
    for books in (1, 2, 3)
    for longest, shortest in ((6, 0), (4, 4), (5, 2))
]


def test_flat_takes_the_codebooks_of_a_frame_in_turn() -> None:
    layout = CodeLayout(10, 2, 3, pattern="flat")
    assert layout.ids(torch.tensor([[1, 2], [3, 4]])) == [1, 12, 3, 14]
    assert (layout.size, layout.streams, layout.longest) == (22, 1, 7)


def test_delay_lays_each_codebook_a_frame_later_than_the_one_before() -> None:
    """Figure 1 of MusicGen, with the id of no code in the corners."""
    layout, no = CodeLayout(10, 3, 4, pattern="delay"), 10
    ids = torch.tensor(layout.ids(torch.tensor([[1, 2, 3], [4, 5, 6]]))).view(-1, 3) - torch.tensor([0, 11, 22])
    assert ids.T.tolist() == [[1, 4, no, no], [no, 2, 5, no], [no, no, 3, 6]]
    assert (layout.size, layout.streams, layout.longest) == (35, 3, 21)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_codes_come_back_and_every_id_of_theirs_is_allowed(layout: CodeLayout) -> None:
    generator = torch.Generator().manual_seed(0)
    for frames in range(layout.shortest_frames, layout.longest_frames + 1):
        codes = torch.randint(0, layout.codes, (frames, layout.codebooks), generator=generator)
        ids = layout.ids(codes)
        assert layout.frames([layout.size - 2, *ids, layout.size - 1]) == codes.tolist()
        assert len(ids) + layout.streams <= layout.longest
        for place, id_ in enumerate([*ids, layout.size - 1]):
            assert any(id_ in some for some in layout.allowed(ids[:place]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_whatever_is_allowed_is_a_value(layout: CodeLayout) -> None:
    draw = random.Random(0)
    for _ in range(40):
        ids: list[int] = []
        while (id_ := draw.choice([i for some in layout.allowed(ids) for i in some])) != layout.size - 1:
            ids.append(id_)
        frames = layout.frames(ids)
        assert layout.shortest_frames <= len(frames) <= layout.longest_frames
        assert layout.ids(torch.tensor(frames, dtype=torch.int64).reshape(len(frames), layout.codebooks)) == ids


def test_a_value_that_was_cut_gives_its_whole_frames() -> None:
    layout = CodeLayout(10, 2, 4, pattern="delay")
    ids = layout.ids(torch.tensor([[1, 2], [3, 4], [5, 6]]))
    assert layout.frames(ids[:5]) == [[1, 2]]
    assert layout.frames([]) == []
    assert CodeLayout(10, 2, 4).frames([1, 12, 3]) == [[1, 2]]


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([[1, 2, 3]], "the codes have the shape [1, 3], wanted is [frames, 2]"),
        ([[1, 2]] * 5, "the value has 5 frames of codes, 1 to 4 are allowed"),
        ([[1, 10]], "10 is no code: they go from 0 to 9; was a file of codes damaged?"),
    ],
)
def test_codes_that_are_none_are_refused(codes: list[list[int]], message: str) -> None:
    with pytest.raises(SampleError) as caught:
        CodeLayout(10, 2, 4, 1).ids(torch.tensor(codes))
    assert str(caught.value) == message


def test_the_frames_of_a_grid_are_named_by_their_one_number() -> None:
    with pytest.raises(SampleError) as caught:
        CodeLayout(10, 1, 4, 4).ids(torch.tensor([[1]]))
    assert str(caught.value) == "the value has 1 frames of codes, 4 are allowed"


def test_an_id_of_another_codebook_is_named() -> None:
    with pytest.raises(MmkitError) as caught:
        CodeLayout(10, 2, 4).frames([1, 2])
    assert str(caught.value) == "id 2 cannot be the code of frame 0 in codebook 1, whose ids go from 10 to 19"
