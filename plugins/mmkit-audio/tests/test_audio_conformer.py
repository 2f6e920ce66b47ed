"""The Conformer, compared with torchaudio's own, alone and packed."""

import copy
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import pytest
import torch
import torchaudio
from mmkit_audio.config import ConformerConfig
from mmkit_audio.conformer import ConformerEncoder, build
from mmkit_audio.packed_conformer import Layout
from mmkit_audio.spec_augment import mask_bands, shift_bands
from pydantic import ValidationError

from mmkit import BuildContext, PluginError, Ragged


def made(**options: Any) -> ConformerEncoder:
    torch.manual_seed(0)
    given = {"dim": 32, "layers": 2, "kernel": 7, "n_mels": 40, **options}
    return build(BuildContext(), **ConformerConfig(**given).model_dump())


def batch_of(encoder: Any, clips: Sequence[Any]) -> Any:
    processor = encoder.processor()
    return processor.collate([processor(clip) for clip in clips])


def settled(encoder: ConformerEncoder, clips: Sequence[Any]) -> ConformerEncoder:
    """In evaluation mode, with running statistics that are not those of a fresh layer."""
    with torch.no_grad():
        encoder.train()(batch_of(encoder, clips))
    return encoder.eval()


def test_one_clip_gives_what_torchaudio_gives(clips: Sequence[Any]) -> None:
    encoder = settled(made(), clips)
    reference = torchaudio.models.Conformer(32, 4, 128, 2, 7)
    reference.load_state_dict(encoder.conformer.state_dict())
    seen: list[torch.Tensor] = []
    encoder.conformer.conformer_layers[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        got = encoder(batch_of(encoder, clips[:1]))
        wanted = reference.eval()(seen[0][None], torch.tensor(got.sizes))[0][0]
    torch.testing.assert_close(got.values, wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("options", [{}, {"stride": 1}, {"stride": 8}, {"features": "pooled"}])
def test_a_clip_is_the_same_alone_and_among_others(options: Any, clips: Sequence[Any]) -> None:
    encoder = settled(made(**options), clips)
    processor = encoder.processor()
    with torch.no_grad():
        together = encoder(batch_of(encoder, clips))
        for clip, rows in zip(clips, together.split(), strict=True):
            alone = encoder(batch_of(encoder, [clip]))
            torch.testing.assert_close(alone.values, rows, atol=1e-5, rtol=0)
            assert alone.sizes == [processor.num_features(processor(clip))]


def test_statistics_of_training_are_of_real_frames_alone(clips: Sequence[Any]) -> None:
    """A batch moves the running mean as what its clips give alone, laid end to end, does."""
    encoder = made(dropout=0.0, layers=1).train()
    norm = next(m for m in encoder.modules() if isinstance(m, torch.nn.BatchNorm1d))
    seen: list[torch.Tensor] = []
    hook = norm.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    for clip in clips:
        encoder(batch_of(encoder, [clip]))
    hook.remove()
    norm.reset_running_stats()
    encoder(batch_of(encoder, clips))
    torch.testing.assert_close(norm.running_mean, 0.1 * torch.cat(seen).mean(0), atol=1e-6, rtol=1e-4)


def test_clips_attend_in_groups_of_nearly_one_length() -> None:
    lengths = torch.tensor([40, 8, 10, 41, 100, 9])
    layout = Layout.of(lengths, 3, torch.device("cpu"))
    assert [tuple(group.frames.shape) for group in layout.groups] == [(3, 10), (2, 41), (1, 100)]
    assert [group.real is None for group in layout.groups] == [False, False, True]
    rows = [group.frames.flatten()[group.rows] for group in layout.groups]
    assert torch.equal(torch.cat(rows)[layout.order], torch.arange(208))
    starts = layout.places[lengths.cumsum(0) - lengths].tolist()
    assert starts == [0, 43, 54, 67, 111, 214]
    assert layout.length == 226


def test_gradients_reach_every_parameter(clips: Sequence[Any]) -> None:
    encoder = made().train()
    encoder(batch_of(encoder, clips)).values.square().sum().backward()
    dead = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert [name for name in dead if "in_proj_bias" not in name] == []


def test_weights_go_through_an_empty_model(clips: Sequence[Any]) -> None:
    encoder = settled(made(), clips)
    again = made()
    again.load_state_dict(encoder.state_dict())
    batch = batch_of(encoder, clips)
    with torch.no_grad():
        assert torch.equal(again.eval()(batch).values, encoder(batch).values)


def test_augmentation_changes_training_only(clips: Sequence[Any]) -> None:
    encoder = settled(made(augment=["mask", "shift"], dropout=0.0), clips)
    one, other = batch_of(encoder, clips), batch_of(encoder, clips)
    with torch.no_grad():
        assert torch.equal(encoder(one).values, copy.deepcopy(encoder)(other).values)
        encoder.train()
        assert not torch.equal(encoder(one).values, encoder(other).values)


def test_augmentation_comes_with_the_clip_and_not_from_its_batch(clips: Sequence[Any]) -> None:
    encoder = settled(made(augment=["mask", "shift"], dropout=0.0), clips).train()
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.eval()
    processor = encoder.processor()
    items = [processor(clip) for clip in clips]
    with torch.no_grad():
        together = encoder(processor.collate(items)).split()
        torch.rand(7)
        for item, rows in zip(items, together, strict=True):
            torch.testing.assert_close(encoder(processor.collate([item])).values, rows, atol=1e-5, rtol=1e-4)


def test_masks_blank_bands_and_spans_of_each_clip() -> None:
    torch.manual_seed(0)
    frames = Ragged.of([torch.randn(50, 40), torch.randn(200, 40)])
    chances = torch.rand(2, 8)
    masked = mask_bands(frames, chances)
    for before, after, drawn in zip(frames.split(), masked.split(), chances.view(2, 4, 2), strict=True):
        wanted = torch.zeros(before.shape, dtype=torch.bool)
        for number, (width, start) in enumerate(drawn.tolist()):
            size = before.shape[number // 2]
            width *= 0.2 * size
            start *= size - width
            span = torch.tensor([start <= at < start + width for at in range(size)])
            wanted |= span[:, None] if number < 2 else span[None]
        assert torch.equal(before != after, wanted)
        assert torch.equal(after[wanted], before.mean().expand(int(wanted.sum())))


def test_a_shift_moves_whole_bands() -> None:
    frames = Ragged.of([torch.arange(40.0).repeat(5, 1), torch.arange(40.0).repeat(3, 1)])
    for chance, moves in ((0.0, -4), (0.999, 4), (0.5, 0)):
        first, second = shift_bands(frames, 4, torch.tensor([chance, 0.999])).split()
        assert torch.equal(first, (frames.split()[0] + moves).clamp(0, 39))
        assert torch.equal(second, (frames.split()[1] + 4).clamp(0, 39))


def test_a_config_that_cannot_be_built_is_refused() -> None:
    with pytest.raises(ValidationError, match="dim 30 is no multiple of heads 4"):
        ConformerConfig(dim=30)
    with pytest.raises(ValidationError, match="kernel must be odd, got 8"):
        ConformerConfig(kernel=8)


def test_a_torchaudio_that_does_not_load_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    with pytest.raises(PluginError) as error:
        made()
    assert str(error.value) == (
        "conformer needs torchaudio, which does not load: ModuleNotFoundError: No module named 'torchaudio.models'; "
        "'torchaudio' is not a package\n"
        f"    got: torchaudio {version('torchaudio')} beside torch {torch.__version__}\n"
        "    fix: install builds for one CUDA version; seen to work together: "
        "pip install torch==2.14.1 torchvision==0.29.1 torchaudio==2.11.0"
    )
