"""A trained tokenizer as a vocabulary."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmkit_image.image_codes import ImageCodes, build
from PIL import Image

import mmkit
from mmkit import BuildContext, PluginError, SampleError

ENCODER = {"use": "fsq-image", "image_size": 16, "channels": [8, 16], "levels": [8, 6, 5]}
WANTED = "wanted is the folder of a saved model with an encoder fsq-image and a head rebuild-image that reads it"


def tokenizer(**encoder: Any) -> dict[str, Any]:
    task = {"input": "{image}", "output": "{image}", "head": {"use": "rebuild-image", "channels": [16, 8]}}
    return {"mmkit": 1, "modalities": {"image": {"encoder": {**ENCODER, **encoder}}}, "tasks": {"rebuild": task}}


def drawing(codec: Path) -> dict[str, Any]:
    modalities = {
        "text": {"adapter": "characters"},
        "picture": {"adapter": {"use": "image-codes", "codec": str(codec)}},
    }
    task = {"input": "{text}", "output": "{picture}", "head": "generate"}
    backbone = {"use": "lstm", "embedding_dim": 8, "hidden_dim": 8}
    return {"mmkit": 1, "modalities": modalities, "backbone": backbone, "tasks": {"draw": task}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mmkit.build(tokenizer()).save(tmp_path_factory.mktemp("codec") / "model")


@pytest.fixture
def codec(folder: Path) -> ImageCodes:
    return build(BuildContext(), codec=folder)


def test_codes_and_picture_are_those_of_the_trained_model(
    codec: ImageCodes, folder: Path, photos: list[Image.Image]
) -> None:
    model = mmkit.load(folder)
    encoder: Any = model.nodes()["image.encoder"]
    assert (codec.grid, codec.layout.codes, codec.size, codec.longest) == ((4, 4), 240, 242, 17)
    for photo in photos:
        features = encoder(encoder.processor().collate([encoder.processor()(photo)]))
        ids = codec.encode(photo)
        assert ids == encoder.fsq.numbers(features.values.detach()).tolist()
        assert codec.decode(ids) == model.predict("rebuild", {"image": photo})


def test_places_without_a_code_are_grey(codec: ImageCodes, photo: Image.Image) -> None:
    ids = codec.encode(photo)
    whole, part = np.array(codec.decode(ids)), np.array(codec.decode(ids[:6]))
    assert (part[:4, :, :] != 128).any()
    assert (part[4:8, 8:] == 128).all()
    assert (part[8:] == 128).all()
    assert part.shape == whole.shape == (16, 16, 3)
    assert (np.array(codec.decode([])) == 128).all()


def test_codec_travels_without_its_network_and_draws_no_random_number(codec: ImageCodes, photo: Image.Image) -> None:
    wanted = codec.encode(photo)
    again = pickle.loads(pickle.dumps(codec))
    state = torch.get_rng_state()
    assert again.encode(photo) == wanted
    assert torch.equal(torch.get_rng_state(), state)


def test_language_model_carries_its_codec(folder: Path, photo_path: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(folder, tmp_path / "codec"))
    model = mmkit.build(drawing(moved), fit={"text": ["cat"]})
    (tmp_path / "picture.jpg").write_bytes(photo_path.read_bytes())
    row = {"text": "cat", "picture": "picture.jpg"}
    ids = model.preparer(tmp_path)("draw", row).target
    with pytest.raises(SampleError, match=r"^column 'picture': '/etc/x\.png' leaves the data folder "):
        model.preparer(tmp_path)("draw", {**row, "picture": "/etc/x.png"})
    model.save(tmp_path / "lm")
    shutil.rmtree(moved)
    again = mmkit.load(tmp_path / "lm")
    assert ids is not None
    assert torch.equal(again.preparer(tmp_path)("draw", row).target, ids)
    assert again.vocabularies["picture"].decode(ids.tolist()) == model.vocabularies["picture"].decode(ids.tolist())


def test_checkpoint_refuses_a_codec_of_another_size(folder: Path, tmp_path: Path) -> None:
    mmkit.build(drawing(folder), fit={"text": ["cat"]}).save(tmp_path / "lm")
    other = build(BuildContext(), codec=mmkit.build(tokenizer(levels=[5, 5, 5])).save(tmp_path / "other"))
    other.save_assets(tmp_path / "lm" / "assets" / "picture.adapter")
    with pytest.raises(mmkit.CheckpointError, match="(?s)does not fit the spec: .*size mismatch"):
        mmkit.load(tmp_path / "lm")


def refused(folder: Path) -> str:
    with pytest.raises(PluginError) as caught:
        build(BuildContext(), codec=folder)
    return str(caught.value)


def test_folder_that_is_no_tokenizer_is_refused(folder: Path, tmp_path: Path) -> None:
    where = f"codec {str(tmp_path / 'none')!r}"
    assert refused(tmp_path / "none") == f"{where}: no such folder; {WANTED}"
    (tmp_path / "none").mkdir()
    assert refused(tmp_path / "none") == f"{where} has no spec.json; {WANTED}"
    shutil.copy(folder / "spec.json", tmp_path / "none")
    assert refused(tmp_path / "none") == f"{where} has no model.safetensors; {WANTED}"
    spec = tokenizer()
    spec["tasks"]["rebuild"] |= {"output": "{label}", "head": {"use": "classify", "labels": ["a", "b"]}}
    plain = mmkit.build(spec).save(tmp_path / "plain")
    assert refused(plain) == f"codec {str(plain)!r} has no head rebuild-image (it has: classify); {WANTED}"


def test_damaged_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(folder, tmp_path / "broken"))
    where = f"codec {str(broken)!r}"
    spec = json.loads((broken / "spec.json").read_text())
    spec["modalities"]["image"]["encoder"]["levels"] = [8, 5, 5, 5]
    (broken / "spec.json").write_text(json.dumps(spec))
    assert refused(broken) == (
        f"{where}: its weights do not fit its spec: 3 of another shape (first: 'encoder.project.weight', (3, 16, 1, 1) in the "
        "file, (4, 16, 1, 1) in the model)"
    )
    spec["modalities"]["image"]["encoder"]["levels"] = "many"
    (broken / "spec.json").write_text(json.dumps(spec))
    assert refused(broken) == f"{where}: an option of it is refused: levels: Input should be a valid list"
    (broken / "spec.json").write_text("{")
    assert refused(broken).startswith(f"{where}: spec.json cannot be read (JSONDecodeError: ")
    shutil.copy(folder / "spec.json", broken)
    (broken / "model.safetensors").write_bytes(b"\x80\x02pickle")
    assert refused(broken).startswith(f"weights {str(broken / 'model.safetensors')!r} cannot be read (")


def test_assets_that_lost_a_file_are_refused(codec: ImageCodes, tmp_path: Path) -> None:
    codec.save_assets(tmp_path)
    (tmp_path / "codec.safetensors").unlink()
    message = f"the saved codec {str(tmp_path)!r} has no codec.safetensors; was a file removed?"
    with pytest.raises(PluginError) as caught:
        build(BuildContext(assets=tmp_path), codec=tmp_path)
    assert str(caught.value) == message
