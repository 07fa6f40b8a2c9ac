"""The training of `TinyLM`: random windows of one text, AdamW, warm-up and cosine.

The windows come from their own random state and the rate from the length of the schedule alone. So
a run of fewer steps goes through exactly the first steps of a longer one.
"""

import math
import time
from collections.abc import Callable, Collection

import torch
from jaxtyping import Int64
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib._frontend import is_live
from course_lib.llm._bytes import with_bos
from course_lib.llm._model import TinyLM, check_symbols


BETAS, DECAY, CLIP = (0.9, 0.95), 0.1, 1.0
WARM_UP, FLOOR = 0.02, 0.1  # share of the schedule; share of the highest rate that is left
FORECAST_AFTER = 5  # steps after which a run without a bar prints its loss and remaining time


def learning_rate(step: int, schedule_steps: int, peak: float = 3e-3) -> float:
    """Return the rate of one step, counted from 0: warm-up over 2 %, then cosine to a tenth."""
    warm = max(1, round(WARM_UP * schedule_steps))
    if step < warm:
        return peak * (step + 1) / warm
    share = min(1.0, (step - warm) / max(1, schedule_steps - warm))
    return peak * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * share)))


def train_lm(
    model: TinyLM,
    tokens: Int64[Tensor, "n"],
    *,
    steps: int,
    batch: int = 16,
    lr: float = 3e-3,
    seed: int = 0,
    schedule_steps: int | None = None,
    checkpoints: Collection[int] = (),
    on_checkpoint: Callable[[int, TinyLM], object] | None = None,
    on_step: Callable[[int, float], object] | None = None,
    progress: bool = True,
) -> list[float]:
    """Train on random windows of `tokens`; return the loss of each step in nats per token.

    AdamW with betas 0.9 and 0.95, weight decay 0.1, gradients clipped to norm 1. The rate follows
    `learning_rate` over `schedule_steps`, which is `steps` unless it is given. A model with BOS
    sees the symbol 256 and `context - 1` bytes. `seed` chooses the windows; the weights come with
    the model. `on_step(step, loss)` follows each step, counted from 0. `on_checkpoint(step, model)`
    is called at the steps in `checkpoints`, where `step` updates are done: 0 is the model as given.
    Memory: the model four times (weights, gradients, two moments) and one batch's activations.
    Raises ValueError for settings or data that cannot work, FloatingPointError for a loss of NaN.
    """
    schedule_steps = steps if schedule_steps is None else schedule_steps
    _check(model, tokens, steps, batch, schedule_steps, checkpoints)
    chosen = torch.Generator().manual_seed(seed)
    descent = torch.optim.AdamW(
        model.parameters(), lr=lr, betas=BETAS, weight_decay=DECAY, fused=True
    )
    device = next(model.parameters()).device
    wanted = set(checkpoints) if on_checkpoint is not None else set()
    losses: list[float] = []
    model.train()
    with _Line(steps, progress) as line:
        for step in range(steps + 1):
            if on_checkpoint is not None and step in wanted:
                on_checkpoint(step, model)
            if step == steps:
                break
            windows = draw(tokens, batch, model, chosen).to(device)
            for group in descent.param_groups:
                group["lr"] = learning_rate(step, schedule_steps, lr)
            logits = model(windows[:, :-1])
            # (batch, tokens, vocab) -> (batch * tokens, vocab)
            loss = F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise FloatingPointError(
                    f"The loss is {losses[-1]} at step {step}; try a lower rate than lr={lr:g}."
                )
            descent.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            descent.step()
            line.step(losses[-1])
            if on_step is not None:
                on_step(step, losses[-1])
    model.eval()
    return losses


def draw(
    tokens: Int64[Tensor, "n"], batch: int, model: TinyLM, chosen: torch.Generator
) -> Int64[Tensor, "batch length"]:
    """Return random windows of the model's context and one token more, the last to predict."""
    length = model.config.context + (0 if model.config.bos else 1)
    starts = torch.randint(len(tokens) - length + 1, (batch, 1), generator=chosen)
    windows = tokens[starts + torch.arange(length)]  # (batch, length)
    return with_bos(windows) if model.config.bos else windows


def _check(
    model: TinyLM,
    tokens: Int64[Tensor, "n"],
    steps: int,
    batch: int,
    schedule_steps: int,
    checkpoints: Collection[int],
) -> None:
    if steps < 1 or batch < 1:
        raise ValueError(f"steps is {steps} and batch is {batch}; both must be at least 1.")
    if schedule_steps < steps:
        raise ValueError(
            f"The schedule ends after {schedule_steps} steps, before the {steps} of the training; "
            "give schedule_steps of at least steps."
        )
    if len(tokens) <= model.config.context:
        raise ValueError(
            f"The text has {len(tokens)} tokens; a context of {model.config.context} needs more. "
            "Take a longer text or a shorter context."
        )
    outside = [step for step in checkpoints if not 0 <= step <= steps]
    if outside:
        raise ValueError(f"Checkpoints lie in 0 to {steps}, the end; {outside[0]} does not.")
    check_symbols(tokens, model.config.vocab)


class _Line:
    """A bar where a person watches; elsewhere one line that says how long it will take."""

    def __init__(self, steps: int, shown: bool) -> None:
        self.steps, self.done, self.recent = steps, 0, 0.0
        self.bar, self.plain = None, shown and not is_live()
        if shown and not self.plain:
            from tqdm.auto import tqdm

            self.bar = tqdm(total=steps, unit="step")
        self.start = time.perf_counter()

    def __enter__(self) -> "_Line":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        seconds = time.perf_counter() - self.start
        if self.bar is not None:
            self.bar.close()
        elif self.plain and kind is None:
            print(f"{self.steps} steps: loss {self.recent:.3f}, {seconds:.1f} s", flush=True)

    def step(self, loss: float) -> None:
        self.done += 1
        self.recent = loss if self.done == 1 else 0.95 * self.recent + 0.05 * loss
        if self.bar is not None:
            self.bar.update()
            self.bar.set_postfix_str(f"loss {self.recent:.3f}", refresh=False)
        elif self.plain and self.done == FORECAST_AFTER < self.steps:
            left = (time.perf_counter() - self.start) * (self.steps / self.done - 1)
            print(f"step {self.done} of {self.steps}: loss {loss:.3f}, {left:.0f} s to go")
