"""Checks of lab 30, first half: the residual stream, the peak of the law, its slopes.

References are `course_lib.llm` and `course_lib.massive_activations`.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from course_lib.lab.exercise import Wrong, exercise, generator, same_number


if TYPE_CHECKING:
    import numpy as np
    from torch import Generator, Tensor, nn


END = 143_000  # the last step of the window


def _uniform(random: "Generator", low: float | int, high: float | int) -> float:
    import torch

    return low + (high - low) * float(torch.rand((), generator=random, dtype=torch.float64))


def _whole(random: "Generator", low: int, high: int) -> int:
    """Return one whole number; `high` is not included."""
    import torch

    return int(torch.randint(low, high, (), generator=random))


@exercise(
    "30.outputs",
    points=2,
    difficulty=3,
    minutes=10,
    hints=(
        "A forward hook sees what a module returns. Which module returns the residual stream with "
        "both additions done? Not the MLP: the whole block.",
        "Register one hook on each of llm.decoder_blocks(model), run the model once, and collect. "
        "Some blocks return a tuple: its first part is the stream. Then remove each hook.",
        "handles = [block.register_forward_hook(lambda m, i, out: found.append(out[0] if "
        "isinstance(out, tuple) else out)) for block in llm.decoder_blocks(model)]. Run "
        "model(tokens) in try:, and call handle.remove() for each handle in finally:.",
    ),
)
def outputs(answer: Callable[..., Any]) -> None:
    """Compare with the library on a small Llama and a TinyLM, both with a final norm that acts."""
    import torch

    random = generator()
    for model, vocab in _models(random):
        tokens = torch.randint(vocab, (2, 7), generator=random)
        want, mistakes = _tensors(model, tokens)
        before = _hooks(model)
        _streams(answer(model, tokens.clone()), want, mistakes, type(model).__name__)
        if _hooks(model) > before:
            raise Wrong(
                "Your hooks are still on the model and will run in each later call. Keep what "
                "register_forward_hook returns, and call .remove() on it at the end."
            )


def _models(random: "Generator") -> list[tuple["nn.Module", int]]:
    """Return a Llama of transformers and a TinyLM, with random weights, and their vocabularies."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from course_lib import llm

    config = LlamaConfig(
        vocab_size=60,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=_whole(random, 3, 6),
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    tiny = llm.LMConfig(blocks=_whole(random, 3, 6), width=24, heads=2, context=16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random.initial_seed())
        found = [(LlamaForCausalLM(config), 60), (llm.TinyLM(tiny), tiny.vocab)]
    for model, _ in found:
        model.eval()
        for name, weight in model.named_parameters():
            scale = 0.5 if "norm" in name else 0.3
            weight.data = scale * torch.randn(weight.shape, generator=random) + ("norm" in name)
    return found


def _hooks(model: "nn.Module") -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def _tensors(
    model: "nn.Module", tokens: "Tensor"
) -> tuple[list["Tensor"], dict[str, list["Tensor"]]]:
    """Return the stream, and what a learner may take for it, by the words that say so."""
    import torch

    from course_lib import llm

    seen: dict[str, list[Any]] = {"inputs": [], "mlp": [], "norm": []}

    def enter(_: Any, inputs: Any) -> None:
        seen["inputs"].append(inputs[0])

    norm = model.get_submodule("norm" if isinstance(model, llm.TinyLM) else "model.norm")
    handles = [norm.register_forward_hook(lambda _, __, out: seen["norm"].append(out))]
    for block in llm.decoder_blocks(model):
        handles.append(block.register_forward_pre_hook(enter))
        mlp = block.get_submodule("mlp")
        handles.append(mlp.register_forward_hook(lambda _, __, out: seen["mlp"].append(out)))
    with torch.no_grad():
        model(tokens)
        for handle in handles:
            handle.remove()
        if not isinstance(model, llm.TinyLM):
            # transformers leaves hooks of its own on the model; let it do so before we count
            model(tokens, output_hidden_states=True)
    stream = llm.block_outputs(model, tokens)
    return stream, {
        "This is the stream in front of each block: hidden_states[0] is the embedding. "
        "Take what a block returns.": seen["inputs"],
        "Your last tensor comes after the final norm, as in output_hidden_states. "
        "Hook the last block instead.": [*stream[:-1], *seen["norm"]],
        "This is what the MLP adds, alone. Hook the block: its output has both additions "
        "done.": seen["mlp"],
    }


def _streams(
    got: Any, want: list["Tensor"], mistakes: dict[str, list["Tensor"]], name: str
) -> None:
    import torch

    if not isinstance(got, list | tuple):
        raise Wrong(f"my_outputs returns a {type(got).__name__}; return a list of tensors.")
    if len(got) != len(want):
        more = len(got) == len(want) + 1
        words = "Leave the embedding out: it is no block's output." if more else "Once per block."
        raise Wrong(f"{name} has {len(want)} blocks, but your list has {len(got)}. {words}")
    for place, (one, right) in enumerate(zip(got, want, strict=True)):
        if isinstance(one, tuple):
            raise Wrong("An output is still a tuple. Its first part is the stream: output[0].")
        if not isinstance(one, torch.Tensor) or one.shape != right.shape:
            shape = tuple(one.shape) if isinstance(one, torch.Tensor) else type(one).__name__
            raise Wrong(f"Entry {place} should have the shape {tuple(right.shape)}, not {shape}.")

    def same(others: Sequence["Tensor"]) -> bool:
        return all(torch.allclose(a, b, atol=1e-4) for a, b in zip(got, others, strict=True))

    if same(want):
        return
    for words, others in mistakes.items():
        if same(others):
            raise Wrong(words)
    worst = [float((a - b).abs().max()) for a, b in zip(got, want, strict=True)]
    place = worst.index(max(worst))
    raise Wrong(
        f"On {name}, entry {place} differs from the output of block {place} by up to "
        f"{worst[place]:.3g}. Return the tensors that the blocks return, in their order."
    )


@exercise(
    "30.peak",
    points=2,
    difficulty=2,
    minutes=5,
    hints=(
        "The peak's inner time x depends on lam alone. Find it first; then go back from x to t.",
        "x = exp(W(1/lam)). And x = gamma * t + t0: solve for t.",
        "return float((np.exp(lambertw(1 / lam).real) - t0) / gamma).",
    ),
)
def peak(answer: Callable[..., Any]) -> None:
    """Compare with the library on random parameters, and name the usual slips."""
    from course_lib import massive_activations as ma

    random = generator()
    for _ in range(3):
        lam, t0 = 10 ** _uniform(random, -2, 0), _uniform(random, 0.3, 0.9)
        gamma = 10 ** _uniform(random, -5, -3)
        want = ma.peak_time(1.0, lam, gamma, t0, 0.0)
        _one_peak(answer(lam, gamma, t0), want, lam, gamma, t0)


def _one_peak(got: Any, want: float, lam: float, gamma: float, t0: float) -> None:
    import numpy as np
    from scipy.special import lambertw

    call = f"my_peak({lam:.4g}, {gamma:.4g}, {t0:.4g})"
    if isinstance(got, complex | np.complexfloating):
        raise Wrong("lambertw returns a complex number. Take its real part: lambertw(…).real.")
    x = gamma * want + t0
    w, other = math.log(x), float(lambertw(lam).real)
    mistakes = {
        "t0 is missing: x = gamma * t + t0, so subtract it from x first.": x / gamma,
        "gamma is missing: divide by it to come from x to steps.": x - t0,
        "This is x, the inner time. Go back to steps: t = (x - t0) / gamma.": x,
        "You took W(lam). The equation lam * x * log(x) = 1 asks for W(1 / lam).": (
            math.exp(other) - t0
        )
        / gamma,
        "The exponential is missing: x is exp(W), W itself is log(x).": (w - t0) / gamma,
        "The sign of t0 is wrong: t = (x - t0) / gamma.": (x + t0) / gamma,
    }
    for words, wrong in mistakes.items():
        if isinstance(got, float | int) and math.isclose(got, wrong, rel_tol=1e-6):
            raise Wrong(f"{call} should be {want:.6g} steps; yours is {got:.6g}. {words}")
    same_number(got, want, f"{call}, in steps,", tol=1e-6 * abs(want))


@exercise(
    "30.jacobian",
    points=3,
    difficulty=3,
    minutes=10,
    hints=(
        "With x = gamma * t + t0 the law is A exp(-lam x) log(x) + K. A, lam and K stand in it "
        "directly; gamma and t0 only through x.",
        "For the last two use the chain rule. Let D be the derivative by x: "
        "A exp(-lam x) (1/x - lam log x). By t0 it is D; by gamma it is D times dx/dgamma = t.",
        "E = np.exp(-lam * x); L = np.log(x); D = A * E * (1 / x - lam * L). Return "
        "np.stack([E * L, -A * x * E * L, D * t, D, np.ones_like(x)], axis=1).",
    ),
)
def jacobian(answer: Callable[..., Any]) -> None:
    """Compare each column with the library's, which the tests hold against autograd."""
    import numpy as np

    random = generator()
    for _ in range(2):
        lam, t0, A = 10 ** _uniform(random, -2, -0.3), _uniform(random, 0.3, 0.9), 3.0
        gamma, K = 10 ** _uniform(random, -4.7, -4), _uniform(random, 5, 9)
        A = A + _uniform(random, 0, 20)
        t = np.concatenate([[0.0], np.sort(np.array([_uniform(random, 1, END) for _ in range(8)]))])
        _columns(answer(t.copy(), A, lam, gamma, t0, K), t, (A, lam, gamma, t0, K))


def _columns(got: Any, t: "np.ndarray", parameters: tuple[float, ...]) -> None:
    import numpy as np

    from course_lib import massive_activations as ma

    names, want = ma.Eq9._fields, ma.jacobian(t, *parameters)
    if not isinstance(got, np.ndarray):
        raise Wrong(f"my_jacobian returns a {type(got).__name__}; return a numpy array (n, 5).")
    if got.shape == want.T.shape:
        raise Wrong("Your array is (5, n): one row per step is asked for, so take its transpose.")
    if got.shape != want.shape:
        raise Wrong(f"For {len(t)} steps the shape should be {want.shape}, not {got.shape}.")
    A, lam, gamma, t0, _ = parameters
    x = gamma * t + t0
    decay, log, slope = np.exp(-lam * x), np.log(x), want[:, 3]
    mistakes: dict[str, dict[str, np.ndarray]] = {
        "A": {
            "The factor exp(-lam x) is missing.": log,
            "A itself does not stay: the law is linear in it.": A * want[:, 0],
        },
        "lam": {
            "The sign is wrong: exp(-lam x) falls when lam grows.": -want[:, 1],
            "The factor x is missing: d exp(-lam x) / d lam = -x exp(-lam x).": want[:, 1] / x,
            "The inner time is x = gamma t + t0, not t.": -A * t * decay * log,
        },
        "gamma": {
            "The factor t is missing: x = gamma t + t0, and dx/dgamma = t.": slope,
            "This is the derivative by t. By gamma, the inner derivative is t.": gamma * slope,
            "Only log x is differentiated; exp(-lam x) holds gamma, too.": A * decay / x * t,
        },
        "t0": {
            "Only log x is differentiated; exp(-lam x) holds t0, too.": A * decay / x,
            "dx/dt0 is 1: no further factor belongs here.": slope * t,
        },
        "K": {"K is only added, so each step gives 1.": np.zeros_like(x)},
    }

    def close(one: np.ndarray, other: np.ndarray) -> bool:
        return np.allclose(one, other, rtol=1e-6, atol=1e-6 * float(np.abs(other).max() + 1e-9))

    orders = itertools.permutations(range(5))
    exact = (order for order in orders if close(want[:, 0], got[:, order[0]]))
    for order in exact:
        if order != tuple(range(5)) and all(
            close(want[:, i], got[:, j]) for i, j in enumerate(order)
        ):
            raise Wrong(f"The columns are right, but their order should be {', '.join(names)}.")
    for place, name in enumerate(names):
        if close(got[:, place], want[:, place]):
            continue
        for words, wrong in mistakes[name].items():
            if close(got[:, place], wrong):
                raise Wrong(f"The column of {name} is wrong. {words}")
        row = int(np.abs(got[:, place] - want[:, place]).argmax())
        raise Wrong(
            f"The column of {name} should be {want[row, place]:.6g} at step {t[row]:.0f}, but is "
            f"{got[row, place]:.6g}. Differentiate A exp(-lam x) log(x) + K by {name} again."
        )
