"""MobileTL learns: a real pretrained network, real handwriting, three seeds.

EfficientNet-Lite0 with ImageNet weights, cut before its top 3 blocks, on MNIST-5k at 96 pixels.
The trunk's features are computed once. 400 pictures, 2 epochs, batch 8, Adam 1e-3, cosine.
"""

from statistics import mean

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib import assets, mobiletl
from course_lib.training import evaluate, fit, seed_everything


pytestmark = pytest.mark.lab10

SEEDS = (0, 1, 2)
BLOCKS = 3


@pytest.fixture(scope="module")
def model() -> nn.Module:
    seed_everything(0)
    return assets.model("efficientnet_lite0", num_classes=10)


@pytest.fixture(scope="module")
def features(model) -> dict[str, tuple[Tensor, Tensor]]:
    """Input of the top 3 blocks, and labels: "train" of 400, "test" of 750 pictures."""
    net = mobiletl.apply(model, blocks=BLOCKS).eval()
    found = {}
    for split, limit in (("train", 400), ("test", 750)):
        pictures = assets.load("mnist5k", split=split, size=96, channels=3)
        order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))[:limit]
        parts = [net.features(assets.to_input(pictures.images[i])) for i in order.split(50)]
        found[split] = (torch.cat(parts), pictures.labels[order])
    return found


def further(net: mobiletl.CutNetwork, x: Tensor) -> Tensor:
    """Run the cached features through what this network's trunk has on top of the cache."""
    cut = [name for name, _ in net.trunk.named_children()].index("blocks_5_1") + 1
    with torch.no_grad():
        return torch.cat([net.trunk[cut:](part) for part in x.split(50)])


def accuracy(model: nn.Module, build, features, lr: float = 1e-3) -> float:
    """Mean test accuracy of the seeds, in percent."""
    scores = []
    for seed in SEEDS:
        seed_everything(seed)
        model.reset_classifier(10)
        net = build(model)
        (x, y), (test_x, test_y) = features["train"], features["test"]
        x, test_x = further(net, x), further(net, test_x)
        fit(net.top, (x, y), epochs=2, batch_size=8, lr=lr, seed=seed, progress=False)
        scores.append(100 * evaluate(net.top.eval(), (test_x, test_y)))
    return mean(scores)


def test_mobiletl_is_as_good_as_fine_tuning_and_better_than_the_last_layer(model, features):
    scores = {
        "fine-tuning": accuracy(
            model, lambda m: mobiletl.baseline(m, "ft_blocks", blocks=BLOCKS), features
        ),
        "exact": accuracy(model, lambda m: mobiletl.apply(m, blocks=BLOCKS), features),
        "sign": accuracy(model, lambda m: mobiletl.apply(m, blocks=BLOCKS, mask="sign"), features),
        "one block": accuracy(model, lambda m: mobiletl.apply(m, blocks=1), features),
        "last layer": accuracy(
            model, lambda m: mobiletl.baseline(m, "last_layer"), features, lr=3e-3
        ),
    }
    for mask in ("exact", "sign"):
        assert scores[mask] >= scores["fine-tuning"] - 2, scores
        assert scores[mask] >= scores["last layer"] + 2, scores
    assert scores["exact"] >= scores["one block"] - 2, scores


def test_sign_gradient_is_close_to_the_exact_one(model, features):
    seed_everything(0)
    model.reset_classifier(10)
    x, y = (t[:32] for t in features["train"])
    grads = []
    for mask in ("exact", "sign"):
        net = mobiletl.apply(model, blocks=BLOCKS, mask=mask, head="converted").train()
        F.cross_entropy(net.top(x), y).backward()
        grads.append(torch.cat([p.grad.flatten().double() for p in net.trainable_parameters()]))
    cosine = F.cosine_similarity(*grads, dim=0).item()
    assert 0.95 < cosine < 0.9999
