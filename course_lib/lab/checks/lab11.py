"""Checks of lab 11: gradients without x, the bytes of a block, codes, bits in a budget.

References are autograd, `course_lib.s2a`, and the full list of all choices.
"""

import itertools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from course_lib.lab.exercise import Wrong, exercise, generator, same_number, same_tensor


if TYPE_CHECKING:
    from torch import Generator, Tensor


CLOSE = 1e-4
WIDTHS = (1, 2, 4, 8)
PARTS = ("norm", "attention", "activation", "qkv")


def _draw(random: "Generator", *ranges: tuple[int, int]) -> list[int]:
    """Return one whole number from each range; its end is not included."""
    import torch

    return [int(torch.randint(low, high, (), generator=random)) for low, high in ranges]


@exercise(
    "11.lrp_gradients",
    points=2,
    difficulty=2,
    minutes=6,
    hints=(
        "Each sample receives the same matrix A B. So what each sample sends back to it adds up: "
        "first sum g over the batch.",
        "With S, the sum of g over the batch, the loss changes by the sum of S times d(A B). "
        "For a product A B: dA is S times B transposed, dB is A transposed times S.",
        "total = g.sum(dim=0), then return total @ B.T, A.T @ total.",
    ),
)
def lrp_gradients(answer: Callable[..., Any]) -> None:
    """Compare with autograd on random batches; the input x takes part, but is not handed over."""
    import torch

    random = generator()
    for batch in (1, 3):
        tokens, width, rank = _draw(random, (5, 9), (9, 14), (2, 5))
        x, g = torch.randn(2, batch, tokens, width, generator=random)
        a = torch.randn(tokens, rank, generator=random).requires_grad_()
        b = torch.randn(rank, width, generator=random).requires_grad_()
        want = torch.autograd.grad(((x + a @ b) * g).sum(), (a, b))
        got = answer(g.clone(), a.detach().clone(), b.detach().clone())
        if not isinstance(got, tuple | list) or len(got) != 2:
            raise Wrong("my_lrp_gradients should return two tensors: return dA, dB.")
        for name, one, right in zip(("dA", "dB"), got, want, strict=True):
            _one_gradient(name, one, right, batch, dict(zip(("dA", "dB"), want, strict=True)))


def _one_gradient(
    name: str, got: Any, want: "Tensor", batch: int, both: Mapping[str, "Tensor"]
) -> None:
    import torch

    if isinstance(got, torch.Tensor):
        other = both["dB" if name == "dA" else "dA"]
        if got.ndim == 3:
            raise Wrong(
                f"{name} still has a batch axis: its shape is {tuple(got.shape)}. "
                "All samples share one A and one B, so sum over the batch."
            )
        if got.shape == other.shape != want.shape:
            raise Wrong(f"{name} has the shape of the other one. Return dA first, then dB.")
        if got.shape == want.shape and batch > 1 and torch.allclose(got * batch, want, atol=1e-3):
            raise Wrong(
                f"{name} is the mean over the batch. The chain rule adds the samples up: use sum."
            )
        if got.shape == want.shape and torch.allclose(-got, want, atol=1e-3):
            raise Wrong(f"{name} has the wrong sign. It is the gradient, not the step against it.")
    same_tensor(got, want, f"{name} for a batch of {batch}", tol=1e-3)


@exercise(
    "11.block_bytes",
    points=3,
    difficulty=3,
    minutes=8,
    hints=(
        "Go down the table's column, layer by layer, and write one term each. "
        "Two norms, four linear layers, one attention, one GELU.",
        "In multiples of N·D: bias keeps 2 for the norms, 4 for attention and 4 for GELU. "
        "full adds the linear inputs, 1 + 1 + 1 + 4. Beside that there is one attention map of "
        "H·N·N numbers, and 2 numbers per token in each norm.",
        "full: 4·(17·N·D + H·N·N + 4·N). bias: 10 in place of 17. lora_all: full + 4·4·N·8. "
        "s2a: 12·N·D + (6·N·D + H·N·N) // 2 + 24·N + 4·H·N.",
    ),
)
def block_bytes(answer: Callable[..., Any]) -> None:
    """Compare with the library's closed forms, which the tests hold against the meter."""
    from course_lib import s2a

    random = generator()
    names = {"full": "full", "bias": "bitfit", "lora_all": "lora_all", "s2a": "s2a"}
    for _ in range(2):
        half, heads, width = _draw(random, (12, 40), (2, 6), (3, 9))
        n, h, d = 2 * half, 2 * heads, 2 * heads * 8 * width
        shape = s2a.BlockShape(batch=1, tokens=n, width=d, heads=h)
        for method, name in names.items():
            rank = {"rank": 8} if name == "lora_all" else {}
            _one_block(answer, (n, d, h), method, s2a.saved_bytes(shape, name, **rank))


def _one_block(
    answer: Callable[..., Any], sizes: tuple[int, int, int], method: str, want: int
) -> None:
    n, d, h = sizes
    call = f'my_block_bytes(N={n}, D={d}, H={h}, method="{method}")'
    got = answer(n, d, h, method)
    if got == want and not isinstance(got, bool):
        return
    s2a = method == "s2a"
    map_bytes = h * n * n // 2 if s2a else 4 * h * n * n
    mistakes = {
        "You count numbers in place of bytes: a float32 number takes 4.": want / 4,
        "The attention map is missing: the softmax keeps H·N·N numbers.": want - map_bytes,
        "There is one attention map per head: H·N·N numbers, not N·N.": want
        - map_bytes
        + map_bytes // h,
        "What norms and softmax keep beside their map is missing: see the small terms in N.": want
        - ((24 * n + 4 * h * n) if s2a else 16 * n),
    }
    if s2a:
        codes = (6 * n * d + h * n * n) // 2
        mistakes |= {
            "A 4-bit code takes half a byte: two of them share one.": want + codes,
            "q, k and v are missing: they stay in 32 bits, 12 bytes per number of N·D.": want
            - 12 * n * d,
        }
    if method == "lora_all":
        lean = 4 * (10 * n * d + h * n * n + 4 * n)
        mistakes["LoRA's A needs the layer's input for its gradient: all linear inputs stay."] = (
            lean + 4 * 4 * n * 8
        )
    for words, wrong in mistakes.items():
        if got == wrong and wrong != want:
            raise Wrong(f"{call} should be {want:,}; yours is {got:,}. {words}")
    same_number(got, want, f"{call}, in bytes,")


@exercise(
    "11.gelu_code",
    points=3,
    difficulty=3,
    minutes=8,
    hints=(
        "Work on the derivative, not on x. Multiply it by 12, so that the levels become whole "
        "numbers from -2 to 13. Then round.",
        "Codes run from 0 to 15, so add 2 after rounding. The largest derivative is 1.129: times "
        "12 and rounded that is 14, above the last level. Clamp.",
        "codes = (12 * gelu_slope(x)).round().add(2).clamp(0, 15), and decoded = (codes - 2) / 12. "
        "Return codes.to(torch.uint8), decoded.",
    ),
)
def gelu_code(answer: Callable[..., Any]) -> None:
    """Compare codes and decoded derivative with the definition, for inputs of any scale."""
    import torch

    random = generator()
    for scale in (1.0, 3.0, 1e4):
        x = scale * torch.randn(999, generator=random)
        x = torch.cat([x, torch.tensor([0.0, 1.4, -1.4, 9.0, -9.0])])
        slope = _gelu_slope(x)
        scaled = 12 * slope
        x = x[(scaled - scaled.floor() - 0.5).abs() > 1e-3]  # no ties: both roundings are right
        slope = _gelu_slope(x)
        got = answer(x.clone())
        if not isinstance(got, tuple | list) or len(got) != 2:
            raise Wrong("my_gelu_code should return two tensors: return codes, decoded.")
        _one_code(got[0], got[1], x, slope)


def _gelu_slope(x: "Tensor") -> "Tensor":
    import torch
    import torch.nn.functional as F

    y = x.clone().requires_grad_()
    return torch.autograd.grad(F.gelu(y).sum(), y)[0]


def _one_code(codes: Any, decoded: Any, x: "Tensor", slope: "Tensor") -> None:
    import torch

    want = (12 * slope).round().add(2).clamp(0, 15)
    if isinstance(codes, torch.Tensor) and codes.shape == want.shape:
        found = codes.double()
        if found.min() < 0:
            raise Wrong(
                f"The smallest code is {int(found.min())}. Codes are stored without a sign: add 2, "
                "so that they start at 0."
            )
        if found.max() > 15:
            raise Wrong(
                f"The largest code is {int(found.max())}, but 4 bits end at 15. Clamp the codes."
            )
        low, high = -0.12904, 1.12904
        mistakes = {
            "These are the codes of the minmax grid. Here 0 and 1 must be levels: step 1/12.": (
                (slope - low) / (high - low) * 15
            ).round(),
            "You cut the digits off. Round to the nearest level.": (12 * slope).floor() + 2,
            "You code x itself. Code the derivative, gelu_slope(x).": (12 * x).round() + 2,
        }
        for words, wrong in mistakes.items():
            wrong = wrong.clamp(0, 15).double()
            if torch.equal(found, wrong) and not torch.equal(wrong, want.double()):
                raise Wrong(words)
        if codes.dtype != torch.uint8:
            raise Wrong(
                f"The codes have the dtype {codes.dtype}, {codes.element_size()} bytes each. "
                "End with .to(torch.uint8), so that they can be packed."
            )
    same_tensor(codes, want.to(torch.uint8), "The codes")
    if isinstance(decoded, torch.Tensor) and decoded.shape == want.shape:
        if torch.allclose(decoded.double(), want.double() / 12, atol=CLOSE):
            raise Wrong("Decoding forgets the 2 that coding added: (codes - 2) / 12.")
        if torch.equal(decoded.double(), slope.double()):
            raise Wrong("decoded is the exact derivative. Compute it from the codes alone.")
    same_tensor(decoded, (want - 2) / 12, "The decoded derivative", tol=CLOSE)


@exercise(
    "11.allocation",
    points=4,
    difficulty=4,
    minutes=10,
    hints=(
        "Give each pair of part and width an unknown that is 0 or 1. Both the error and the bytes "
        "are then sums over the chosen pairs: a linear problem with whole numbers.",
        "Two kinds of constraints. For each part its unknowns add up to exactly 1. "
        "All unknowns times their bytes are at most the budget.",
        "pairs = [(p, w) for p in cost for w in cost[p]]. One row per part: 1 where the pair is of "
        "this part, bounds (1, 1). One row of bytes, bounds (0, budget). Then milp(c=errors, "
        "constraints=[LinearConstraint(rows, 1, 1), LinearConstraint(bytes, 0, budget)], "
        "integrality=1, bounds=(0, 1)). Take the pairs with x > 0.5.",
    ),
)
def allocation(answer: Callable[..., Any]) -> None:
    """Compare the sum of errors with the best of all choices, on random tables."""
    import torch

    random = generator()
    for _ in range(3):
        sizes = torch.randint(20, 90, (len(PARTS),), generator=random).tolist()
        scales = (10 ** (2 * torch.rand(len(PARTS), generator=random))).tolist()
        cost = {p: {w: s * w for w in WIDTHS} for p, s in zip(PARTS, sizes, strict=True)}
        error = {p: {w: s / 4**w for w in WIDTHS} for p, s in zip(PARTS, scales, strict=True)}
        fixed = ("norm", "attention")[_draw(random, (0, 2))[0]]
        error[fixed] = {w: error[fixed][w] * 40 for w in WIDTHS}
        budget = sum(cost[p][4] for p in PARTS)
        got = answer({p: dict(cost[p]) for p in PARTS}, {p: dict(error[p]) for p in PARTS}, budget)
        _one_allocation(got, cost, error, budget)


Table = Mapping[str, Mapping[int, float | int]]


def _one_allocation(got: Any, cost: Table, error: Table, budget: float | int) -> None:
    if not isinstance(got, Mapping):
        raise Wrong(f"my_allocation returns a {type(got).__name__}; return a dict, part to bits.")
    if set(got) != set(cost):
        raise Wrong(
            f"Your dict has the parts {', '.join(map(str, got)) or 'none'}; "
            f"each of {', '.join(cost)} needs one width."
        )
    if odd := {p: w for p, w in got.items() if w not in cost[p]}:
        raise Wrong(f"{odd}: only the widths {', '.join(map(str, WIDTHS))} can be packed.")

    def total(table: Table, choice: Mapping[str, int]) -> float | int:
        return sum(table[p][w] for p, w in choice.items())

    spent = total(cost, got)
    if spent > budget:
        raise Wrong(f"{dict(got)} costs {spent:,.0f} bytes, above the budget of {budget:,.0f}.")
    choices = [dict(zip(cost, c, strict=True)) for c in itertools.product(WIDTHS, repeat=len(cost))]
    fits = [c for c in choices if total(cost, c) <= budget]
    best = min(total(error, c) for c in fits)
    reached = total(error, got)
    if reached <= best * (1 + 1e-6):
        return
    share = budget / len(cost)
    split = {p: max((w for w in WIDTHS if cost[p][w] <= share), default=1) for p in cost}
    if len(set(got.values())) == 1:
        words = "All parts have one width. Give bits where an error hurts; take them elsewhere."
    elif dict(got) == split:
        words = "You give each part the same share of the budget. The budget belongs to all."
    else:
        words = "Let the solver choose all parts at once; one after the other is not enough."
    raise Wrong(f"The errors add up to {reached:.4g}; {best:.4g} fits into the budget. {words}")
