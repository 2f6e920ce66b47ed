"""Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017): ``python -m recipes.image_classification.prepare``.

Writes ``train.parquet``, ``valid.parquet`` and ``test.parquet`` with the columns ``image`` (a struct with the ``bytes`` of a
28 × 28 grey PNG) and ``label`` (one of ten names). The published test set is kept as it is; training pictures that
occur in it pixel for pixel are left out.
"""

import gzip
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from rich.progress import track

from recipes.common.baselines import majority
from recipes.common.cache import write_json
from recipes.common.debian import debian_package, package_version
from recipes.common.errors import RecipeError
from recipes.common.report import main
from recipes.common.split import split

NAME, VERSION = "image_classification", "1"
LICENCE = "MIT"
VALID = 5000 / 60000
LABELS = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def make(folder: Path) -> None:
    """Decode the IDX files, leave out duplicates, split, write Parquet with PNG bytes, score the baselines."""
    package = debian_package("dataset-fashion-mnist", LICENCE)
    data = package / "usr/share/datasets/fashion-mnist"
    train = read_idx(data / "train-images-idx3-ubyte.gz"), read_idx(data / "train-labels-idx1-ubyte.gz")
    test = read_idx(data / "t10k-images-idx3-ubyte.gz"), read_idx(data / "t10k-labels-idx1-ubyte.gz")
    tested = {picture.tobytes() for picture in test[0]}
    rows = [
        {"at": i, "key": picture.tobytes().hex()}
        for i, picture in enumerate(train[0])
        if picture.tobytes() not in tested
    ]
    parts = split(rows, lambda row: row["key"], test=0.0, valid=VALID)
    counts = {}
    for part in ("train", "valid"):
        chosen = np.array([row["at"] for row in parts[part]])
        counts[part] = _write(folder / f"{part}.parquet", train[0][chosen], train[1][chosen])
    counts["test"] = _write(folder / "test.parquet", *test)
    names = [[LABELS[label] for label in labels] for labels in (train[1], test[1])]
    baselines: dict[str, Any] = {
        "source": package_version(package),
        "licence": LICENCE,
        "rows": counts,
        "training pictures that are in the test set, left out": len(train[0]) - len(rows),
        "always the commonest label": majority(*names),
        "nearest class mean of the pixels": {"accuracy": round(_nearest_mean(*train, *test), 4)},
    }
    write_json(folder / "baseline.json", baselines)


def read_idx(path: Path) -> "np.ndarray":
    """An array of bytes from the IDX format of MNIST.

    Raises:
        RecipeError: the file is not IDX, or shorter than its header says.
    """
    data = gzip.decompress(path.read_bytes())
    zeros, kind, rank = struct.unpack(">HBB", data[:4])
    shape = struct.unpack(f">{rank}I", data[4 : 4 + 4 * rank])
    body = np.frombuffer(data, np.uint8, offset=4 + 4 * rank)
    if zeros or kind != 8 or body.size != np.prod(shape):
        raise RecipeError(
            f"{path.name} is not an IDX file of bytes: header {data[:4].hex()}, {body.size} bytes, {shape}"
        )
    return body.reshape(shape)


def _write(path: Path, pictures: "np.ndarray", labels: "np.ndarray") -> int:
    images = [{"bytes": _png(picture), "path": None} for picture in track(pictures, path.stem)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(images, kind), "label": [LABELS[label] for label in labels]})
    pq.write_table(table, path, row_group_size=5000)
    return len(images)


def _png(picture: "np.ndarray") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _nearest_mean(
    pictures: "np.ndarray", labels: "np.ndarray", test_pictures: "np.ndarray", test_labels: "np.ndarray"
) -> float:
    flat = pictures.reshape(len(pictures), -1).astype(np.float32)
    means = np.stack([flat[labels == label].mean(0) for label in range(len(LABELS))])
    test = test_pictures.reshape(len(test_pictures), -1).astype(np.float32)
    distances = (means**2).sum(1) - 2 * test @ means.T
    return float((distances.argmin(1) == test_labels).mean())


if __name__ == "__main__":
    main(NAME, VERSION, make, __doc__ or "")
