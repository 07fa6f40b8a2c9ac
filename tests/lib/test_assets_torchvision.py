"""The full-scale data sets, read by torchvision from small files in the same format."""

import hashlib
import pickle
import urllib.error

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torchvision import datasets
from torchvision.datasets import utils

from course_lib import assets


PHOTOS = 6


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A cache of this test and no network."""

    def refuse(*_, **__):
        raise urllib.error.URLError("no connection")

    monkeypatch.setattr(utils, "_get_redirect_url", refuse)
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    return tmp_path / "torchvision"


def md5(file) -> str:
    return hashlib.md5(file.read_bytes()).hexdigest()


def write_cifar(root, monkeypatch, reader, classes, key, meta_key):
    """Write the batches of a CIFAR, five pictures each, and let torchvision expect these."""
    folder = root / reader.base_folder
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)

    def batch(name):
        rows = {"data": random.integers(0, 256, (5, 3072), dtype=np.uint8)}
        rows[key] = random.integers(0, len(classes), 5).tolist()
        (folder / name).write_bytes(pickle.dumps(rows))
        return rows, [name, md5(folder / name)]

    train, train_list = zip(*[batch(name) for name, _ in reader.train_list], strict=True)
    test, test_list = zip(*[batch(name) for name, _ in reader.test_list], strict=True)
    (folder / reader.meta["filename"]).write_bytes(pickle.dumps({meta_key: classes}))
    meta = {**reader.meta, "md5": md5(folder / reader.meta["filename"])}
    monkeypatch.setattr(reader, "train_list", list(train_list))
    monkeypatch.setattr(reader, "test_list", list(test_list))
    monkeypatch.setattr(reader, "meta", meta)
    return {"train": train, "test": test}, folder


@pytest.mark.parametrize(
    ("name", "reader", "count", "key", "meta_key"),
    [
        ("cifar10", datasets.CIFAR10, 10, "labels", "label_names"),
        ("cifar100", datasets.CIFAR100, 100, "fine_labels", "fine_label_names"),
    ],
)
def test_cifar(root, monkeypatch, name, reader, count, key, meta_key):
    classes = [f"class {i}" for i in range(count)]
    written, folder = write_cifar(root, monkeypatch, reader, classes, key, meta_key)
    for split, batches in written.items():
        pictures = assets.load(name, split=split)
        rows = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
        assert torch.equal(pictures.images, torch.from_numpy(rows))
        assert pictures.labels.tolist() == [label for batch in batches for label in batch[key]]
        assert pictures.classes == classes and pictures.captions[0] in classes
    assert assets.load(name, split="test", size=64).images.shape[1:] == (3, 64, 64)
    with pytest.raises(ValueError, match="Unknown split 'val'"):
        assets.load(name, split="val")
    damaged = folder / reader.test_list[0][0]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(assets.AssetError, match=f"Cannot bring {name}") as error:
        assets.load(name, split="test")
    assert str(root) in str(error.value) and "connect to the internet" in str(error.value)


def write_photos(folder, names):
    folder.mkdir(parents=True)
    for i, name in enumerate(names):
        body = np.full((40 + i, 60, 3), 30 * i, dtype=np.uint8)
        Image.fromarray(body).save(folder / name)


def test_flowers102(root, monkeypatch):
    base = root / "flowers-102"
    write_photos(base / "jpg", [f"image_{i:05d}.jpg" for i in range(1, PHOTOS + 1)])
    labels = [3, 1, 2, 1, 102, 5]
    savemat(base / "imagelabels.mat", {"labels": np.array([labels])})
    sets = {"trnid": [1, 4], "valid": [2, 5], "tstid": [3, 6]}
    savemat(base / "setid.mat", {key: np.array([ids]) for key, ids in sets.items()})
    expected = {
        key: (name, md5(base / name) if name.endswith(".mat") else digest)
        for key, (name, digest) in datasets.Flowers102._file_dict.items()
    }
    monkeypatch.setattr(datasets.Flowers102, "_file_dict", expected)
    for split, ids in zip(("train", "val", "test"), sets.values(), strict=True):
        pictures = assets.load("flowers102", split=split, size=32)
        assert pictures.images.shape == (len(ids), 3, 32, 32)
        assert pictures.labels.tolist() == [labels[i - 1] - 1 for i in ids]
        assert pictures.images[:, 0, 16, 16].tolist() == pytest.approx(
            [30 * (i - 1) for i in ids], abs=3
        )
        assert len(pictures.classes) == 102


def test_pets(root):
    base = root / "oxford-iiit-pet"
    names = ["Abyssinian_1", "Abyssinian_2", "basset_hound_1", "basset_hound_2"]
    write_photos(base / "images", [f"{name}.jpg" for name in names])
    (base / "annotations").mkdir()
    (base / "annotations" / "trainval.txt").write_text("Abyssinian_1 1 1 1\nbasset_hound_1 2 2 1\n")
    (base / "annotations" / "test.txt").write_text("Abyssinian_2 1 1 1\nbasset_hound_2 2 2 1\n")
    for split in ("train", "test"):
        pictures = assets.load("pets", split=split, size=32)
        assert pictures.images.shape == (2, 3, 32, 32) and pictures.labels.tolist() == [0, 1]
        assert pictures.captions == ["Abyssinian", "Basset Hound"]


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "flowers102", "pets"])
def test_missing_and_offline(root, name):
    with pytest.raises(assets.AssetError, match="connect to the internet") as error:
        assets.load(name)
    assert name in str(error.value) and str(root) in str(error.value)
    assert "\n" not in str(error.value)


def test_bad_size_and_option(root):
    with pytest.raises(ValueError, match="8 to 512"):
        assets.load("pets", size=1024)
    with pytest.raises(TypeError, match="Unknown option of cifar10 'channels'; known are size"):
        assets.load("cifar10", channels=1)
