"""S2A against the same modules kept exactly, beside checkpointing; and packing against copying."""

from collections.abc import Callable
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import nn

from course_lib.lean import pack_codes, unpack_codes
from course_lib.measure import compare, peak_memory, saved_activations
from course_lib.s2a._apply import apply


NETWORK = {"model_name": "vit_small_patch16_224", "img_size": 224, "depth": 3}
MODULES = ("bias", "lrp")
BATCH = 4
CLASSES = 10
CODES = 1 << 23  # about what GELU keeps of a ViT-S block for a batch of 28


def rows(rounds: int = 15) -> list[dict[str, Any]]:
    """Measure training steps, then packing; one dict each.

    Times are ratios of medians of interleaved runs. A step is forward, backward and AdamW on
    random weights: neither time nor bytes depend on them. Attention is unfused unless the case
    says so. For packing, the ratio is of seconds per byte read or written, to those of a copy.
    """
    return [*_steps(rounds), *(_packing(bits, rounds) for bits in (4, 1))]


def _steps(rounds: int) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    model = timm.create_model(**NETWORK, num_classes=CLASSES)
    networks: dict[str, Any] = {
        "exact": apply(model, MODULES, bits=32),
        "4 bits": apply(model, MODULES),
        "4 bits, q k v too": apply(model, MODULES, qkv_bits=4),
        "checkpointing": apply(model, MODULES, bits=32),
        "exact, fused": apply(model, MODULES, bits=32, fused=True),
        "4 bits, fused": apply(model, MODULES, fused=True),
    }
    networks["checkpointing"].set_grad_checkpointing()
    size = NETWORK["img_size"]
    images, labels = torch.randn(BATCH, 3, size, size), torch.randint(CLASSES, (BATCH,))
    steps = {name: _step(network, images, labels) for name, network in networks.items()}
    times = compare(steps, rounds=rounds, warmup=2)
    kept = {
        name: (
            saved_activations(lambda n=network: n(images), model=network).total,
            peak_memory(steps[name], model=network).total,
        )
        for name, network in networks.items()
    }
    against = {name: "exact, fused" if "fused" in name else "exact" for name in networks}
    return [
        {
            "case": f"{NETWORK['model_name']}, {size} px, {name}",
            "against": plain,
            "step time": round(times.ratio(name, to=plain), 3),
            "saved bytes": round(kept[name][0] / kept[plain][0], 3),
            "peak bytes": round(kept[name][1] / kept[plain][1], 3),
            "bytes": {key: kept[key] for key in (plain, name)},  # saved, peak
        }
        for name, plain in against.items()
        if name != plain
    ]


def _step(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4)
    network.train()

    def step() -> None:
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _packing(bits: int, rounds: int) -> dict[str, Any]:
    codes = torch.randint(1 << bits, (CODES,), dtype=torch.uint8)
    packed = pack_codes(codes, bits)
    functions = {
        "copy": codes.clone,
        "pack": lambda: pack_codes(codes, bits),
        "unpack": lambda: unpack_codes(packed, bits, codes.shape),
    }
    seconds = compare(functions, rounds=rounds, warmup=2).seconds
    # Bytes read and written: a code of one byte, and its bits.
    moved = {"copy": 2 * CODES, "pack": CODES + len(packed), "unpack": CODES + len(packed)}
    both = (seconds["pack"] + seconds["unpack"]) / (moved["pack"] + moved["unpack"])
    peaks = {name: peak_memory(function).total for name, function in functions.items()}
    return {
        "case": f"pack and unpack {CODES >> 20} Mi codes of {bits} bit",
        "against": "copy, per byte",
        "step time": round(both / (seconds["copy"] / moved["copy"]), 3),
        "saved bytes": round(len(packed) / CODES, 3),
        "peak bytes": round(peaks["unpack"] / peaks["copy"], 3),
        "bytes": {"copy": (CODES, peaks["copy"]), "packed": (len(packed), peaks["unpack"])},
        "bytes per second": {name: moved[name] / seconds[name] for name in functions},
    }
