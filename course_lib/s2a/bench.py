"""S2A against the same modules kept exactly, beside checkpointing; and packing against copying."""

import os
import shutil
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch

from course_lib.lean import pack_codes, unpack_codes
from course_lib.measure import compare, peak_memory, saved_activations
from course_lib.s2a import _triton
from course_lib.s2a._activation import coded_activation
from course_lib.s2a._apply import apply
from course_lib.s2a._layer_norm import coded_layer_norm
from course_lib.s2a._softmax import coded_softmax
from course_lib.training import one_step


NETWORK = {"model_name": "vit_small_patch16_224", "img_size": 224, "depth": 3}
MODULES = ("bias", "lrp")
BATCH = 4
CLASSES = 10
CODES = 1 << 23  # about what GELU keeps of a ViT-S block for a batch of 28


def rows(rounds: int = 15) -> list[dict[str, Any]]:
    """Measure training steps, then packing; one dict each.

    Times are ratios of medians of interleaved runs. A step is forward, backward and Adam on
    random weights: neither time nor bytes depend on them. Attention is unfused unless the case
    says so. For packing, the ratio is of seconds per byte read or written, to those of a copy.
    Where there is a C++ compiler, a step under torch.compile follows, without bytes: the meters
    do not look into it. With CUDA and triton, so do the fused kernels, against plain torch on the
    GPU.
    """
    fused = torch.cuda.is_available() and _triton.has_triton()
    return [
        *_steps(rounds),
        *(_compiled(rounds) if _has_compiler() else ()),
        *(_packing(bits, rounds) for bits in (4, 1)),
        *(_kernels(torch.device("cuda"), 32, rounds) if fused else ()),
    ]


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
    steps = {name: one_step(network, images, labels) for name, network in networks.items()}
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


def _has_compiler() -> bool:
    """Tell whether torch.compile can work on this CPU: it needs a C++ compiler, and Python.h."""
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    header = Path(sysconfig.get_path("include")) / "Python.h"
    return shutil.which(compiler) is not None and header.is_file()


def _compiled(rounds: int) -> list[dict[str, Any]]:
    """Steps under torch.compile, which fuses the codes with what makes them."""
    torch.manual_seed(0)
    model, size = timm.create_model(**NETWORK, num_classes=CLASSES), NETWORK["img_size"]
    images, labels = torch.randn(BATCH, 3, size, size), torch.randint(CLASSES, (BATCH,))
    steps = {
        name: one_step(network, images, labels)
        for name, network in {
            "exact, compiled": torch.compile(apply(model, MODULES, bits=32)),
            "4 bits": apply(model, MODULES),
            "4 bits, compiled": torch.compile(apply(model, MODULES)),
        }.items()
    }
    times = compare(steps, rounds=rounds, warmup=2)
    return [
        {
            "case": f"{NETWORK['model_name']}, {size} px, 4 bits, compiled",
            "against": plain,
            "step time": round(times.ratio("4 bits, compiled", to=plain), 3),
        }
        for plain in ("4 bits", "exact, compiled")
    ]


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


def _kernels(device: torch.device, batch: int, rounds: int) -> list[dict[str, Any]]:
    """The functions of a ViT-S block, forward and backward: fused kernels against plain torch."""
    cases: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], tuple[int, ...]]] = {
        "gelu": (lambda x: coded_activation(x, "gelu"), (batch, 197, 1536)),
        "softmax": (coded_softmax, (batch, 6, 197, 197)),
        "layer_norm": (lambda x: coded_layer_norm(x, None, None), (batch, 197, 384)),
    }
    found = []
    for name, (function, shape) in cases.items():
        x = torch.randn(shape, device=device, requires_grad=True)
        grad = torch.randn(shape, device=device)

        def fused(function: Any = function, x: Any = x, grad: Any = grad) -> None:
            torch.autograd.grad(function(x), x, grad)
            if device.type == "cuda":
                torch.cuda.synchronize(device)

        def plain(run: Callable[[], None] = fused) -> None:
            with _triton.switched_off():
                run()

        times = compare({"kernel": fused, "plain": plain}, rounds=rounds, warmup=2)
        peaks = {"kernel": peak_memory(fused).total, "plain": peak_memory(plain).total}
        kept = {"kernel": saved_activations(lambda f=function, x=x: f(x)).total}
        with _triton.switched_off():
            kept["plain"] = saved_activations(lambda f=function, x=x: f(x)).total
        found.append(
            {
                "case": f"fused kernels, {name} {shape}, 4 bits",
                "against": "plain torch",
                "step time": round(times.ratio("kernel", to="plain"), 3),
                "saved bytes": round(kept["kernel"] / kept["plain"], 3),
                "peak bytes": round(peaks["kernel"] / peaks["plain"], 3),
                "bytes": {side: (kept[side], peaks[side]) for side in peaks},  # saved, peak
            }
        )
    return found
