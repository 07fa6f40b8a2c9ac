"""Right and plausible wrong answers to the exercises of lab 30."""

import numpy as np
import torch
from labs.answers import lab30_fits
from scipy.optimize import brentq
from scipy.special import lambertw

from course_lib import llm


# 30.outputs


def by_hooks(model, tokens, remove=True, of=lambda block: block):
    found = []

    def keep(module, inputs, output):
        found.append(output[0] if isinstance(output, tuple) else output)

    handles = [of(block).register_forward_hook(keep) for block in llm.decoder_blocks(model)]
    try:
        with torch.no_grad():
            model(tokens)
    finally:
        for handle in handles if remove else []:
            handle.remove()
    return found


def by_inputs(model, tokens):
    """A block's output is the next block's input; the last one goes into the final norm."""
    found = []

    def keep(module, inputs):
        found.append(inputs[0])

    blocks = llm.decoder_blocks(model)
    norm = model.norm if hasattr(model, "norm") else model.model.norm
    handles = [module.register_forward_pre_hook(keep) for module in (*blocks[1:], norm)]
    model(tokens)
    for handle in handles:
        handle.remove()
    return found


def hidden_states(model, tokens):
    return list(model(tokens, output_hidden_states=True).hidden_states)


def shifted(model, tokens):
    return hidden_states(model, tokens)[:-1]


def after_the_norm(model, tokens):
    return hidden_states(model, tokens)[1:]


def only_the_mlp(model, tokens):
    return by_hooks(model, tokens, of=lambda block: block.mlp)


def hooks_left(model, tokens):
    return by_hooks(model, tokens, remove=False)


def backwards(model, tokens):
    return by_hooks(model, tokens)[::-1]


# 30.peak


def by_lambert(lam, gamma, t0):
    return (np.exp(lambertw(1 / lam).real) - t0) / gamma


def by_search(lam, gamma, t0):
    return (brentq(lambda x: lam * x * np.log(x) - 1, 1, 1e6, xtol=1e-12) - t0) / gamma


def no_offset(lam, gamma, t0):
    return by_lambert(lam, gamma, 0)


def no_scale(lam, gamma, t0):
    return by_lambert(lam, 1, t0)


def of_lam(lam, gamma, t0):
    return by_lambert(1 / lam, gamma, t0)


def inner(lam, gamma, t0):
    return by_lambert(lam, 1, 0)


def still_complex(lam, gamma, t0):
    return (np.exp(lambertw(1 / lam)) - t0) / gamma


def no_exponential(lam, gamma, t0):
    return (lambertw(1 / lam).real - t0) / gamma


def offset_added(lam, gamma, t0):
    return by_lambert(lam, gamma, -t0)


# 30.jacobian


def by_hand(t, A, lam, gamma, t0, K):
    x = gamma * t + t0
    decay, log = np.exp(-lam * x), np.log(x)
    slope = A * decay * (1 / x - lam * log)
    return np.stack([decay * log, -A * x * decay * log, slope * t, slope, np.ones_like(x)], axis=1)


def by_autograd(t, *parameters):
    steps = torch.from_numpy(t)

    def curve(values):
        A, lam, gamma, t0, K = values
        x = gamma * steps + t0
        return A * torch.exp(-lam * x) * torch.log(x) + K

    at = torch.tensor(parameters, dtype=torch.float64)
    return torch.autograd.functional.jacobian(curve, at).numpy()


def with_column(place, change):
    """The right columns, one of them changed by `change(right, t, A, lam, gamma, t0, K)`."""

    def answer(*arguments):
        right = by_hand(*arguments)
        column = change(right[:, place].copy(), *arguments)
        return np.insert(np.delete(right, place, axis=1), place, column, axis=1)

    return answer


no_t = with_column(2, lambda right, *given: by_hand(*given)[:, 3])
by_time = with_column(
    2, lambda right, t, A, lam, gamma, t0, K: gamma * by_hand(t, A, lam, gamma, t0, K)[:, 3]
)
sign = with_column(1, lambda right, *given: -right)
no_decay = with_column(0, lambda right, t, A, lam, gamma, t0, K: np.log(gamma * t + t0))
zero_k = with_column(4, lambda right, *given: 0 * right)
half_slope = with_column(
    3,
    lambda right, t, A, lam, gamma, t0, K: A * np.exp(-lam * (gamma * t + t0)) / (gamma * t + t0),
)


def rows_and_columns(*arguments):
    return by_hand(*arguments).T


def other_order(*arguments):
    return by_hand(*arguments)[:, [4, 0, 1, 2, 3]]


RIGHT = {
    "30.outputs": [by_hooks, by_inputs],
    "30.peak": [by_lambert, by_search],
    "30.jacobian": [by_hand, by_autograd],
    **lab30_fits.RIGHT,
}

WRONG = {
    "30.outputs": [
        (shifted, "in front of each block"),
        (after_the_norm, "after the final norm"),
        (hidden_states, "Leave the embedding out"),
        (only_the_mlp, "what the MLP adds"),
        (hooks_left, "still on the model"),
        (backwards, "in their order"),
    ],
    "30.peak": [
        (no_offset, "t0 is missing"),
        (no_scale, "gamma is missing"),
        (of_lam, "You took W(lam)"),
        (inner, "This is x, the inner time"),
        (still_complex, "a complex number"),
        (no_exponential, "The exponential is missing"),
        (offset_added, "The sign of t0"),
    ],
    "30.jacobian": [
        (no_t, "The factor t is missing"),
        (by_time, "the derivative by t."),
        (sign, "The sign is wrong"),
        (rows_and_columns, "take its transpose"),
        (no_decay, "The factor exp(-lam x) is missing"),
        (other_order, "their order should be"),
        (half_slope, "holds t0, too"),
        (zero_k, "K is only added"),
    ],
    **lab30_fits.WRONG,
}
