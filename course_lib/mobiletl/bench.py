"""MobileTL against plain fine-tuning of the same blocks: step time, saved bytes, peak bytes."""

from collections.abc import Callable
from typing import Any

import timm
import torch
import torch.nn.functional as F

from course_lib.measure import compare, peak_memory, saved_activations
from course_lib.mobiletl._apply import apply
from course_lib.mobiletl._baselines import baseline
from course_lib.mobiletl._cut import CutNetwork


# timm's name, pixels, mask: the paper's for h-swish, the exact one for ReLU6
SETTINGS = (
    ("tf_efficientnet_lite0", 96, "exact"),
    ("tf_efficientnet_lite0", 224, "exact"),
    ("mobilenetv3_small_100", 96, "sign"),
)
BLOCKS = (3, 5)
BATCH = 8
CLASSES = 10


def rows(rounds: int = 15) -> list[dict[str, Any]]:
    """Measure every setting; one dict each. Times are ratios of medians of interleaved steps.

    A step is trunk, top, backward and Adam. Both sides run the same frozen trunk without
    autograd. Weights are random: neither time nor bytes depend on them.
    """
    return [
        _row(name, size, mask, blocks, rounds) for name, size, mask in SETTINGS for blocks in BLOCKS
    ]


def _row(name: str, size: int, mask: Any, blocks: int, rounds: int) -> dict[str, Any]:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=CLASSES)
    networks = {
        "plain": baseline(model, "ft_blocks", blocks=blocks),
        "mobiletl": apply(model, blocks=blocks, mask=mask),
        "converted": apply(model, blocks=blocks, mask=mask, head="converted"),
    }
    images = torch.randn(BATCH, 3, size, size)
    labels = torch.randint(CLASSES, (BATCH,))
    times = compare(
        {key: _step(network, images, labels) for key, network in networks.items()},
        rounds=rounds,
        warmup=2,
    )
    saved, peak = {}, {}
    for key, network in networks.items():
        saved[key] = saved_activations(lambda n=network: n(images), model=network).total
        peak[key] = peak_memory(_step(network, images, labels), model=network).total
    row: dict[str, Any] = {"network": name, "pixels": size, "blocks": blocks, "mask": mask}
    for key, suffix in (("mobiletl", ""), ("converted", ", converted head")):
        row[f"step time ratio{suffix}"] = round(times.ratio(key, to="plain"), 3)
        row[f"saved bytes ratio{suffix}"] = round(saved[key] / saved["plain"], 3)
        row[f"peak bytes ratio{suffix}"] = round(peak[key] / peak["plain"], 3)
    row |= {f"saved bytes, {key}": value for key, value in saved.items()}
    row |= {f"peak bytes, {key}": value for key, value in peak.items()}
    return row


def _step(network: CutNetwork, images: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    optimizer = torch.optim.Adam(list(network.trainable_parameters()), lr=1e-4)
    network.train()

    def step() -> None:
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step
