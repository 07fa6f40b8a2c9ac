"""Checks of lab 10: the bytes of a block, packed bits, the conversion, and the best step.

References are the meter on real blocks, and `course_lib.mobiletl`; the cases are random.
"""

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from course_lib.lab.exercise import Wrong, exercise, generator, same_number, same_tensor


if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


WANTED_DROP = 0.55  # of the kept bytes of a ReLU6 block


def _random_block(random: "torch.Generator") -> "tuple[nn.Module, dict[str, int]]":
    """Return a real block in train mode, and its sizes B, C, E, P, P2, C2."""
    from timm.models._efficientnet_blocks import InvertedResidual
    from torch import nn

    batch, channels, ratio, side, stride, out = _draw(
        random, (2, 5), (6, 9), (5, 7), (9, 14), (1, 3), (9, 13)
    )
    block = InvertedResidual(
        channels, out, stride=stride, exp_ratio=float(ratio), act_layer=nn.ReLU6
    )
    expanded: Any = block.conv_dw.out_channels
    half = -(-side // stride)
    sizes = dict(B=batch, C=channels, E=expanded, P=side * side, P2=half * half, C2=out)
    return block.train(), sizes


def _draw(random: "torch.Generator", *ranges: tuple[int, int]) -> list[int]:
    """Return one whole number from each range; its end is not included."""
    import torch

    return [int(torch.randint(low, high, (), generator=random)) for low, high in ranges]


def _kept(block: "nn.Module", sizes: Mapping[str, int]) -> int:
    """Return the bytes that the block keeps, by the meter."""
    from course_lib import measure

    return measure.saved_activations(lambda: block(_picture(sizes)), model=block).total


def _picture(sizes: Mapping[str, int], random: "torch.Generator | None" = None) -> "Tensor":
    import torch

    side = round(sizes["P"] ** 0.5)
    return torch.randn(sizes["B"], sizes["C"], side, side, generator=random)


@exercise(
    "10.irb_bytes",
    points=3,
    difficulty=3,
    minutes=8,
    hints=(
        "Write the table by hand. Plain: three convolutions, three norms and two activations keep "
        "one map each. MobileTL: convolutions and norm3 keep a map, activations keep bits.",
        "After the depthwise convolution a map has P2 pixels. Plain maps: C·P once, E·P three "
        "times, E·P2 three times, C2·P2 once. MobileTL: C·P, E·P, E·P2, C2·P2. "
        "Each number takes 4 bytes, and there are B pictures.",
        "Add the small parts. A norm in train mode keeps 8 bytes per channel: plain 8·(2·E + C2), "
        "MobileTL 8·C2. A mask of n elements takes -(-n // 8) bytes: one mask of B·E·P elements "
        "and one of B·E·P2.",
    ),
)
def irb_bytes(answer: Callable[..., Any]) -> None:
    """Compare with the meter on real blocks of random sizes, plain and converted."""
    from course_lib import mobiletl

    random = generator()
    strides = set()
    while len(strides) < 2:  # both strides occur
        block, sizes = _random_block(random)
        strides.add(sizes["P"] == sizes["P2"])
        _one_block(answer, sizes, mobiletl=False, want=_kept(block, sizes))
        _one_block(answer, sizes, mobiletl=True, want=_kept(mobiletl.convert_block(block), sizes))


def _one_block(
    answer: Callable[..., Any], sizes: Mapping[str, int], *, mobiletl: bool, want: int
) -> None:
    b, c, e, p, p2, c2 = sizes.values()
    call = f"my_irb_bytes({', '.join(f'{k}={v}' for k, v in sizes.items())}, mobiletl={mobiletl})"
    got = answer(**sizes, mobiletl=mobiletl)
    if got == want and not isinstance(got, bool):
        return
    floats = 4 * b * (c * p + e * p + e * p2 + c2 * p2)
    mistakes = {
        "That leaves out what the norms keep beside their input: "
        "mean and inverse deviation, 8 bytes per channel.": want
        - 8 * (c2 + (0 if mobiletl else 2 * e)),
        "You count numbers in place of bytes: a float32 number takes 4.": floats // 4,
        "After the depthwise convolution a map has P2 pixels, not P.": want
        + 4 * b * (p - p2) * (e + c2 + (0 if mobiletl else 2 * e))
        + (-(-b * e * p // 8) + b * e * p2 // -8) * mobiletl,
    }
    if mobiletl:
        bits = -(-b * e * p // 8) - (-b * e * p2 // 8)
        mistakes |= {
            "You keep one byte per mask element. A packed mask takes one bit.": want
            - bits
            + b * e * (p + p2),
            "The two masks are missing: one bit per element, rounded up to whole bytes.": want
            - bits,
        }
    else:
        mistakes["The activations are missing: each ReLU6 keeps its input, a map of its own."] = (
            want - 4 * b * e * (p + p2)
        )
    for words, wrong in mistakes.items():
        if got == wrong and wrong != want:
            raise Wrong(f"{call} should be {want:,}; yours is {got:,}. {words}")
    same_number(got, want, f"{call}, in bytes as the meter finds them,")


@exercise(
    "10.pack_bits",
    points=3,
    difficulty=3,
    minutes=8,
    hints=(
        "Bring the mask into rows of eight: flatten it, add False until the length is a "
        "multiple of 8, then reshape to (-1, 8). A row becomes one byte.",
        "Bit j of a byte is worth 2**j. So multiply each row by the weights "
        "1, 2, 4, ..., 128 and add up the row.",
        "weights = 2 ** torch.arange(8), then (rows * weights).sum(dim=1).to(torch.uint8). "
        "For the padding: torch.nn.functional.pad(flat, (0, -flat.numel() % 8)).",
    ),
)
def pack_bits(answer: Callable[..., Any]) -> None:
    """Compare with the library on random masks of any shape, the empty one included."""
    import torch

    from course_lib import mobiletl

    random = generator()
    a, b = _draw(random, (3, 8), (3, 8))
    shapes = [(8 * a,), (a, 8 * b, 2), (8 * a + 3,), (2 * a + 1, 2 * b + 1), (1,), (), (0,)]
    for shape in shapes:
        mask = torch.rand(shape, generator=random) < 0.4
        want = mobiletl.pack_bits(mask)
        got = answer(mask.clone())
        what = f"The packed mask of shape {tuple(shape)}"
        _bits_in_words(got, want, mask, what)
        same_tensor(got, want, what)


def _bits_in_words(got: Any, want: "Tensor", mask: "Tensor", what: str) -> None:
    """Raise Wrong for the likely mistakes."""
    import torch

    if not isinstance(got, torch.Tensor):
        raise Wrong(f"{what} is of type {type(got).__name__}; return a tensor of dtype uint8.")
    count = mask.numel()
    if got.numel() == count != want.numel():
        raise Wrong(
            f"{what} still has {count} elements, one byte per bit. "
            f"Eight bits share one byte, so {want.numel()} bytes are enough."
        )
    if got.numel() == count // 8 != want.numel():
        raise Wrong(
            f"{what} has {got.numel()} bytes, but {count} bits need {want.numel()}: "
            "fill the last byte up with False; do not drop the rest."
        )
    if got.shape == want.shape and got.dtype != torch.uint8:
        raise Wrong(
            f"{what} has the dtype {got.dtype}, {got.element_size()} bytes each. "
            "End with .to(torch.uint8)."
        )
    if got.shape == want.shape and got.numel():
        backwards = sum(((want >> j) & 1) << (7 - j) for j in range(8))
        if not torch.equal(got, want) and torch.equal(got, torch.as_tensor(backwards).to(got)):
            raise Wrong(
                f"{what} has its bits in reverse order. "
                "Element i belongs to bit i % 8, which is worth 2 ** (i % 8)."
            )


@exercise(
    "10.convert",
    points=4,
    difficulty=4,
    minutes=10,
    hints=(
        "requires_grad and eval() change what is trained. They do not change which operation runs, "
        "and the operation decides what is kept. So put other modules in place of bn1 and bn2.",
        "block.bn1 is norm and activation in one module; its activation is block.bn1.act. "
        "Both have to be replaced: the norm by a ShiftNorm, the activation by a MaskAct. "
        "Leave bn3 as it is.",
        "block.bn1 = nn.Sequential(mobiletl.ShiftNorm.from_norm(block.bn1), "
        'mobiletl.MaskAct("relu6")); the same for bn2; then return block.',
    ),
)
def convert(answer: Callable[..., Any]) -> None:
    """Convert a random block: same output, kept bytes down, the right parameters trained."""
    import torch

    random = generator()
    block, sizes = _random_block(random)
    _shake(block, random)
    before, x = _kept(block, sizes), _picture(sizes, random)
    with torch.no_grad():
        want = copy.deepcopy(block).eval()(x)
    got = answer(copy.deepcopy(block))
    if not isinstance(got, torch.nn.Module):
        raise Wrong(f"my_convert returns a {type(got).__name__}; return the block itself.")
    with torch.no_grad():
        y = got.eval()(x)
    if not torch.allclose(y, want, rtol=1e-4, atol=1e-4):
        raise Wrong(
            f"The converted block computes something else: in eval mode its output differs by up "
            f"to {float((y - want).abs().max()):.2g}. Keep every layer: a norm becomes a "
            "ShiftNorm.from_norm(norm), and after it the activation stays as a MaskAct."
        )
    _trained_as_promised(got)
    drop = 1 - _kept(got.train(), sizes) / before
    if drop < 0.02:
        raise Wrong(
            f"The meter finds a drop of {drop:.0%}: nothing is saved. Flags such as "
            "requires_grad=False or eval() leave the same operation in place, and it keeps the "
            "same map. Replace the module."
        )
    if drop < WANTED_DROP:
        raise Wrong(
            f"The kept bytes fall by {drop:.0%}; all of MobileTL makes it more than "
            f"{WANTED_DROP:.0%} here. {_still_plain(got)}"
        )


def _shake(block: "nn.Module", random: "torch.Generator") -> None:
    """Give norms the statistics and scales of a trained network."""
    import torch

    for module in block.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor, low in ((module.weight, 0.5), (module.running_var, 0.5), (module.bias, -1)):
                assert tensor is not None
                drawn = torch.rand(tensor.shape, generator=random) * 1.5 + low
                tensor.data.copy_(drawn)


def _trained_as_promised(block: "nn.Module") -> None:
    """Raise Wrong unless convolutions and norm3 are trained, the last with scale and statistics."""
    import torch

    for name, module in block.named_modules():
        if isinstance(module, torch.nn.Conv2d) and not module.weight.requires_grad:
            raise Wrong(
                f"The weight of {name} is frozen. MobileTL trains all convolutions; "
                "that is how it differs from tuning only biases."
            )
    last = block.bn3
    if not isinstance(last, torch.nn.BatchNorm2d) or not last.weight.requires_grad:
        raise Wrong(
            "bn3 is not an ordinary trained norm any more. MobileTL replaces the two inner norms, "
            "bn1 and bn2, and leaves the last one."
        )


def _still_plain(block: "nn.Module") -> str:
    """Say which maps are kept although they need not be."""
    import torch

    from course_lib import mobiletl

    untouched = [
        name
        for name in ("bn1", "bn2")
        if not _holds(block, name, mobiletl.ShiftNorm | mobiletl.MaskAct)
    ]
    if untouched:
        return f"{untouched[0]} is not converted yet: do the same to both inner norms."
    inner = [m for name, m in block.named_modules() if name.startswith(("bn1", "bn2"))]
    if any(isinstance(module, torch.nn.ReLU6) for module in inner):
        return "An ordinary ReLU6 is still there, and it keeps its input: use MaskAct."
    if any(isinstance(module, torch.nn.BatchNorm2d) for module in inner):
        return "A BatchNorm is still there, and it keeps its input: use ShiftNorm."
    return "Look at measure.saved_activations(...).table() to see who keeps a map."


@exercise(
    "10.levels",
    points=2,
    difficulty=3,
    minutes=6,
    hints=(
        "Fix one side first. All values of the derivative below 0 are replaced by one number. "
        "Which number has the smallest mean squared distance to them?",
        "It is their mean. So low is the mean of the derivative where x < 0, "
        "and high is the mean where x >= 0. The derivative is hswish_slope(x), in the cell above.",
        "slope = hswish_slope(x), then slope[x < 0].mean() and slope[x >= 0].mean().",
    ),
)
def levels(answer: Callable[..., Any]) -> None:
    """Compare with the conditional means of the derivative, on random normal samples."""
    import torch

    random = generator()
    for sigma in (1.0, 0.5 + 4 * float(torch.rand((), generator=random))):
        x = sigma * torch.randn(4000, generator=random) + 0.3
        got = answer(x.clone())
        if not isinstance(got, tuple | list) or len(got) != 2:
            raise Wrong("my_levels should return two numbers: return low, high.")
        _one_step(float(got[0]), float(got[1]), x)


def _one_step(low: float, high: float, x: "Tensor") -> None:
    import torch
    import torch.nn.functional as F

    y = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(F.hardswish(y).sum(), y)
    below, above = slope[x < 0], slope[x >= 0]
    best_low, best_high = float(below.mean()), float(above.mean())
    if abs(low - best_low) < 1e-4 and abs(high - best_high) < 1e-4:
        return

    def error(a: float, b: float) -> float:
        step = torch.where(x < 0, a, b)
        return float((step - slope).norm() / slope.norm())

    values = F.hardswish(x)
    mistakes = {
        (best_high, best_low): "They are swapped: low belongs to x < 0.",
        (
            0.0,
            1.0,
        ): "These are the paper's levels. They need no storage, but two others are closer.",
        (float(values[x < 0].mean()), float(values[x >= 0].mean())): (
            "You average h-swish itself. Average its derivative."
        ),
        (float(below.median()), float(above.median())): (
            "The median makes the mean absolute distance small; for squares it is the mean."
        ),
        (float(below.min()), float(above.max())): "These are the extremes; look for the middle.",
    }
    for (a, b), words in mistakes.items():
        if abs(low - a) < 1e-4 and abs(high - b) < 1e-4:
            raise Wrong(f"low={low:.3f}, high={high:.3f}: {words}")
    raise Wrong(
        f"low={low:.3f}, high={high:.3f} give a relative error of {error(low, high):.3f}; "
        f"{error(best_low, best_high):.3f} is possible. Each side has its own best number."
    )


def _holds(block: "nn.Module", name: str, kinds: Any) -> bool:
    return any(isinstance(module, kinds) for module in block.get_submodule(name).modules())
