"""How well a language model predicts a text: mean loss in nats, and its exponential."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from course_lib.llm._hooks import checked, evaluating, of_transformers


AT_ONCE = 512  # tokens in one forward pass, unless one window is longer
CHUNK = 128  # tokens whose logits are normalized together


def mean_loss(model: nn.Module, windows: Int64[Tensor, "*shape"]) -> float:
    """Return the mean cross-entropy in nats per predicted token of windows (count, length).

    Every token but the first of each window is predicted from those before it: count x (length - 1)
    predictions, summed in float64. Memory: the logits of 512 tokens or of one window, and 128
    tokens' worth of scratch. Raises ValueError for windows of another rank or of one token, and
    when the model's answer is not a number.
    """
    windows = checked(windows).to(next(model.parameters()).device)
    count, length = windows.shape
    if length < 2:
        raise ValueError("windows must hold at least 2 tokens: the first one is never predicted.")
    total = 0.0
    with evaluating(model):
        for batch in windows.split(max(1, AT_ONCE // length)):
            total += _summed_loss(_logits(model, batch), batch)
    loss = total / (count * (length - 1))
    if math.isnan(loss):
        raise ValueError("The model answers with NaN; its weights or an edit are not finite.")
    return loss


def perplexity(model: nn.Module, windows: Int64[Tensor, "*shape"]) -> float:
    """Return exp(mean_loss): among how many equally likely tokens the model seems to choose.

    Memory and errors as for `mean_loss`.
    """
    loss = mean_loss(model, windows)
    return math.exp(loss) if loss < math.log(torch.finfo(torch.float64).max) else math.inf


def _logits(
    model: nn.Module, batch: Int64[Tensor, "batch tokens"]
) -> Float[Tensor, "batch tokens vocab"]:
    if of_transformers(model):
        return model(batch, use_cache=False).logits
    return model(batch)


def _summed_loss(
    logits: Float[Tensor, "batch tokens vocab"], batch: Int64[Tensor, "batch tokens"]
) -> float:
    total = 0.0
    for row, targets in zip(logits, batch, strict=True):
        pairs = zip(row[:-1].split(CHUNK), targets[1:].split(CHUNK), strict=True)
        for some, wanted in pairs:
            total += F.cross_entropy(some.float(), wanted, reduction="sum").double().item()
    return total
