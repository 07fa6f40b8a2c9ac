"""MobileTL against plain fine-tuning of the same blocks: step time, saved bytes, peak bytes."""

from typing import Any

import timm
import torch

from course_lib.measure import compare, peak_memory, saved_activations
from course_lib.mobiletl._apply import apply
from course_lib.mobiletl._baselines import baseline
from course_lib.training import one_step


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
    """Measure every setting, with an ordinary and a converted head; one dict each.

    Times are ratios of medians of interleaved steps: trunk, top, backward and Adam. Both sides run
    the same frozen trunk without autograd. Weights are random: neither time nor bytes depend on
    them.
    """
    return [
        row
        for name, size, mask in SETTINGS
        for blocks in BLOCKS
        for row in _pair(name, size, mask, blocks, rounds)
    ]


def _pair(name: str, size: int, mask: Any, blocks: int, rounds: int) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=CLASSES)
    networks = {
        "plain": baseline(model, "ft_blocks", blocks=blocks),
        "ordinary": apply(model, blocks=blocks, mask=mask),
        "converted": apply(model, blocks=blocks, mask=mask, head="converted"),
    }
    images = torch.randn(BATCH, 3, size, size)
    labels = torch.randint(CLASSES, (BATCH,))
    times = compare(
        {key: one_step(network, images, labels) for key, network in networks.items()},
        rounds=rounds,
        warmup=2,
    )
    saved, peak = {}, {}
    for key, network in networks.items():
        saved[key] = saved_activations(lambda n=network: n(images), model=network).total
        peak[key] = peak_memory(one_step(network, images, labels), model=network).total
    return [
        {
            "case": f"{name}, {size} px, top {blocks}, {mask}, {head} head",
            "against": f"FT-{blocks}",
            "step time": round(times.ratio(head, to="plain"), 3),
            "saved bytes": round(saved[head] / saved["plain"], 3),
            "peak bytes": round(peak[head] / peak["plain"], 3),
            "bytes": {key: (saved[key], peak[key]) for key in ("plain", head)},  # saved, peak
        }
        for head in ("ordinary", "converted")
    ]
