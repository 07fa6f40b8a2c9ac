# ---
# jupyter:
#   lab:
#     minutes: 60
#     seconds: 120
#     memory: 3 GiB
#     level: advanced
# ---

# %% [markdown] part=1
# # Massive activations: one number that a language model cannot lose
#
# After this lab you can:
# - find the few huge numbers inside a real language model, and tell which of them it needs;
# - watch such numbers grow while a model learns, and fit a law to their growth;
# - distrust a good fit: see when its parameters mean nothing, and when a prediction only remembers.

# %%
import numpy as np
import pandas as pd
import torch
from scipy.special import lambertw
from sklearn.ensemble import RandomForestRegressor
from sklearn.metrics import r2_score

from course_lib import assets, lab, llm, measure
from course_lib import massive_activations as ma
from course_lib.lab import figures30
from course_lib.lab.checks import lab30 as check
from course_lib.massive_activations import trajectories
from course_lib.measure import MiB


lab.start("30_massive_activations", minutes=2, memory=3 * 1024 * MiB)

# %%
# The settings of both scales. `laptop` is what you see here; part 13 tells how to run `full`.
cfg = lab.settings(
    laptop=dict(
        model="smollm2_135m",
        text="python_docs",
        length=512,
        live_steps=260,
        device="cpu",
    ),
    full=dict(
        model="pythia-410m",
        text="redpajama_sample",
        length=2048,
        live_steps=4000,
        device="cuda",
    ),
)

# %% [markdown] part=2
# ## The question
#
# A language model reads a text as *tokens*, pieces of words. Each token is a vector that travels through equal *blocks*.
# A block reads the vectors and adds something to each. So the vectors form a stream, the *residual stream*.
#
# SmolLM2 is a real model: 135 million weights, 30 blocks, vectors of 576 numbers. We let it read 512 tokens
# of Python's own help, and look at the stream behind one block. How large is a typical number there, and the largest?
#
# The first run prepares the model: it fetches 89 MiB and unpacks them, once. Later runs load it in seconds.

# %%
model = assets.language_model(cfg.model).to(cfg.device)
tokenizer = assets.tokenizer(cfg.model)
tokens = torch.tensor(tokenizer(assets.text(cfg.text)[:80_000])["input_ids"])
windows = llm.windows(tokens, cfg.length, 10).to(cfg.device)
outputs = llm.block_outputs(model, windows[:1])
needle = max(range(len(outputs)), key=lambda block: ma.extremes(outputs[block][0]).ratio)
size = outputs[needle][0].abs()
print(f"{len(outputs)} blocks; behind block {needle}: {size.numel():,} numbers")
print(f"typical (median): {size.median():.2f}, largest: {size.max():,.0f}")

# %% [markdown] part=3
# ## Look: a needle in the stream
#
# One number among 294,912 is more than ten thousand times as large as the typical one.
# It is a *massive activation*. Where does it sit?

# %%
chart = figures30.needle(size.cpu().numpy(), title="One number towers above all others")

# %% [markdown] part=4
# ## Predict
#
# First the picture: it all sits on the first token. The other tokens hold nothing like it.
# An *activation* is a number that a network computes, as opposed to a weight, which it has learned.
# Why would a model carry such a number, and does it need it?
#
# *Perplexity* tells how well a model predicts the next token: among how many equally likely tokens it seems to choose.
# For this text it is near 14. We set the one number to 0 and leave the other 294,911 as they are.
# **By what factor does the perplexity grow?** 1 means no change. Replace `None` by your guess.

# %%
lab.predict(
    "30.zero_factor",
    question="Perplexity with the one number at 0, over perplexity untouched",
    guess=None,
    unit="times",
)

# %% [markdown] part=5
# ## The naive way, measured
#
# Here is how such a number hurts. To save memory we want the stream in 8 bits instead of 32.
# The naive way: find the largest size, divide the range into 127 steps on each side, and round.
# We do so behind one block only, and ask for the perplexity. `llm.edit_output` changes one block's output.


# %%
def in_8_bits(h, first=0):
    """Round the stream h (batch, tokens, width) from token `first` on to 8 bits, one scale a window."""
    part = h[:, first:]
    step = part.abs().amax(dim=(1, 2), keepdim=True) / 127
    return torch.cat([h[:, :first], (part / step).round() * step], dim=1)


def perplexity_with(edit, block=needle):
    """Return the perplexity on two windows while `edit` changes the output of a block."""
    with llm.edit_output(model, block, edit):
        return llm.perplexity(model, windows[:2])


untouched = llm.perplexity(model, windows[:2])
coded = {
    "32 bits": untouched,
    "8 bits": perplexity_with(in_8_bits),
    "8 bits, first token in 32": perplexity_with(lambda h: in_8_bits(h, first=1)),
}
measure.table(
    [{"stream behind one block": name, "perplexity": f"{value:,.2f}"} for name, value in coded.items()]
)

# %% [markdown] part=6
# ## The idea
#
# Eight bits destroy the model: a step is as wide as a hundred typical numbers, so all of them become 0.
# Keep one token of 512 in full, and eight bits cost nothing. Whoever compresses models must know about massive activations.
#
# **When are they born?** Gallego-Feliciano et al. (2025) followed the ratio of largest to median
# through the training of nine models, and found one curve. These are their equations:
#
# $$h_\ell = h_{\ell-1} + F_\ell(h_{\ell-1}) \tag{1}$$
# $$r_\ell = \frac{\max |h_\ell|}{\mathrm{median}\,|h_\ell|} \tag{2}$$
# $$f(t) = A\,e^{-\lambda x}\,\log x + K, \qquad x = \gamma t + t_0 \tag{3}$$
# $$t_{\mathrm{peak}} = \frac{e^{W(1/\lambda)} - t_0}{\gamma} \tag{4}$$
# $$f(t) = e^{-\beta t}\left[A_1 \log(t+\tau_0) + A_2\right] + K \tag{5}$$
#
# (1) is the stream: block $\ell$ adds $F_\ell$. (2) is the ratio, over all tokens and dimensions of a window.
# (3) is the *law*: amplitude $A$, decay $\lambda$, time scale $\gamma$, offset $t_0$, baseline $K$; $t$ counts training steps.
# With $\lambda = 0$ it is a logarithm. With $\lambda > 0$ it rises, peaks once at (4), and falls back to $K$. $W$ is Lambert's function.
# (5) is the same law written anew. **It is linear in $A_1$, $A_2$ and $K$**, and that will be the key to fitting it.
#
# Sun et al. (2024) call a number massive if its size is above 100 *and* at least 1000 times the median.
#
# | equation | function | test |
# |---|---|---|
# | (1) | `llm.block_outputs` | `tests/lib/test_llm_hooks.py` |
# | (2), Sun's rule | `massive_activations.probe`, `is_massive` | `tests/lib/test_massive_probe.py` |
# | (3), (4) | `law`, `derivative`, `jacobian`, `peak_time` | `tests/lib/test_massive_law.py` |
# | (5) | `law14`, `to_eq14`, `fit_varpro` | `tests/lib/test_massive_fits.py` |
#
# And without any training? Then the numbers are nearly independent and Gaussian. The ratio of the largest of $n$ to the median
# is then known in closed form, `initial_ratio`. It is our *null*: what we find when there is nothing to find.

# %% [markdown] part=7
# ## Implement
#
# **Exercise 1 · difficulty 3 of 5 · 10 minutes.** Read the right tensor. Libraries return *hidden states*, but the first is
# the input of block 0, and the last is taken after the final norm. We want equation (1): what leaves each block.


# %%
def my_outputs(model, tokens):
    """Return a list: the stream after each decoder block, (batch, tokens, width), before the final norm.

    TODO: collect the output of every block of `llm.decoder_blocks(model)` in one forward pass.
    APPROACH: block.register_forward_hook(hook) calls hook(module, inputs, output); an output may
        be a tuple whose first part is the stream. Remove every hook at the end, whatever happens.
    EXAMPLE: for SmolLM2 the list has 30 tensors; each is (1, 512, 576) for one window.
    """
    ### BEGIN SOLUTION
    found = []

    def keep(module, inputs, output):
        found.append(output[0] if isinstance(output, tuple) else output)

    handles = [block.register_forward_hook(keep) for block in llm.decoder_blocks(model)]
    try:
        with torch.no_grad():
            model(tokens)
    finally:
        for handle in handles:
            handle.remove()
    return found
    ### END SOLUTION


# %%
check.outputs(my_outputs)

# %%
lab.hint("30.outputs", 1)

# %% [markdown]
# **Exercise 2 · difficulty 2 of 5 · 5 minutes.** When does the law peak? Solve $f'(t) = 0$: the inner time $x$ of the peak
# satisfies $\lambda x \log x = 1$, and $x = e^{W(1/\lambda)}$ does it. That is equation (4).


# %%
def my_peak(lam, gamma, t0):
    """Return the training step at which the law peaks, a float.

    TODO: equation (4).
    APPROACH: scipy's lambertw(1 / lam) is complex; take its real part.
    EXAMPLE: my_peak(0.1245164347, 1.1243504e-4, 0.6212193146) is 38,890 steps, a block of Pythia-410M.
    """
    ### BEGIN SOLUTION
    return (np.exp(lambertw(1 / lam).real) - t0) / gamma
    ### END SOLUTION


# %%
check.peak(my_peak)

# %%
lab.hint("30.peak", 1)

# %% [markdown]
# **Exercise 3 · difficulty 3 of 5 · 10 minutes.** A solver that fits the law needs to know how the curve answers to each parameter.
# Write the five derivatives of equation (3). With $E = e^{-\lambda x}$, the derivative by $x$ is $AE(1/x - \lambda\log x)$.


# %%
def my_jacobian(t, A, lam, gamma, t0, K):
    """Return the derivatives of f at the steps t by A, lam, gamma, t0 and K: an array (n, 5).

    TODO: five columns, in this order.
    APPROACH: x = gamma * t + t0 depends on gamma and t0: use the chain rule there.
    EXAMPLE: the last column is 1 everywhere, for K is only added.
    """
    ### BEGIN SOLUTION
    x = gamma * t + t0
    decay, log = np.exp(-lam * x), np.log(x)
    slope = A * decay * (1 / x - lam * log)
    return np.stack([decay * log, -A * x * decay * log, slope * t, slope, np.ones_like(x)], axis=1)
    ### END SOLUTION


# %%
check.jacobian(my_jacobian)

# %%
lab.hint("30.jacobian", 1)

# %% [markdown]
# **Exercise 4 · difficulty 4 of 5 · 15 minutes.** Fit the law. Five parameters at once are hard to find: a solver needs a good start.
# *Variable projection* uses equation (5). Fix $\beta$ and $\tau_0$; then $A_1$, $A_2$, $K$ follow from linear least squares.
# So only two parameters are left to search for, and a grid is enough.


# %%
def my_fit(t, y):
    """Return (beta, tau, A1, A2, K) of the best curve exp(-beta u) (A1 log(u + tau) + A2) + K.

    TODO: u = t / t[-1]; try a grid of beta and tau, solve for the other three, keep the best.
    APPROACH: beta from 0 and np.logspace(-2, 2.3, 30), tau from np.logspace(-6, 1.5, 30);
        np.linalg.lstsq(columns, y, rcond=None)[0] gives the coefficients of the columns.
    EXAMPLE: on points of a true curve of this family, R2 is above 0.999.
    """
    ### BEGIN SOLUTION
    u, best = t / t[-1], (np.inf,)
    for beta in (0, *np.logspace(-2, 2.3, 30)):
        for tau in np.logspace(-6, 1.5, 30):
            decay = np.exp(-beta * u)
            columns = np.stack([decay * np.log(u + tau), decay, np.ones_like(u)], axis=1)
            linear = np.linalg.lstsq(columns, y, rcond=None)[0]
            error = ((columns @ linear - y) ** 2).sum()
            if error < best[0]:
                best = (error, beta, tau, *linear)
    return best[1:]
    ### END SOLUTION


# %%
check.fit(my_fit)

# %%
lab.hint("30.fit", 1)

# %% [markdown] part=8
# ## Assemble: every block, ten windows
#
# The library's probe does your exercise 1 for ten windows of text and reads largest, median and place in every block.

# %% tags=["cover"]
table = ma.probe(model, windows)
null = ma.initial_ratio(windows.shape[1] * outputs[0].shape[2])
chart = figures30.by_block(table, null, title="The needle appears in one block, stays, and is taken out")
hit = table[ma.is_massive(table.top1, table["median"])]
places = hit.groupby(["position", "dimension"]).size()
print(f"Sun's rule holds {len(hit)} times; at (position, dimension): "
      + ", ".join(f"{place} {count} times" for place, count in places.items()))
if check.outputs.try_out(my_outputs).passed:
    mine = my_outputs(model, windows[:1])
    print("your outputs and the library's differ by at most",
          max(float((a - b).abs().max()) for a, b in zip(mine, outputs, strict=True)))

# %% [markdown] part=9
# ## Measure again: what the number is for
#
# The place is the same in all ten windows: the first token, and one dimension of 576. The text does not matter.
# One block writes the number into the stream, the next ones carry it along, and the last ones remove it.
# It acts like a constant that the model has learned, a *bias*. Is it one?
#
# We set it to 0. Then to its mean over other windows: a constant, the same for every text.
# Then we set a typical number to 0, for comparison. Your prediction was about the first.

# %%
position, dimension = (int(v) for v in places.idxmax())
one = table[(table.block == needle) & (table.window >= 2)]
sign = float(outputs[needle][0, position, dimension].sign())
typical = divmod(int((size - size.median()).abs().argmin()), size.shape[1])
edits = {
    "set to 0": llm.set_scalar(position, dimension, 0.0),
    "set to its mean over other windows": llm.set_scalar(position, dimension, sign * one.top1.mean()),
    "a typical number set to 0": llm.set_scalar(*typical, 0.0),
}
factor = {name: perplexity_with(edit) / untouched for name, edit in edits.items()}
lab.recall("30.zero_factor", measured=factor["set to 0"])
measure.table([{"one scalar": n, "perplexity, factor": f"{f:,.4f}"} for n, f in factor.items()])

# %% [markdown]
# At 0 the model is ruined; at a constant nothing changes. So the model needs the number, but it carries no information.
# A typical number can go: nobody notices.
#
# ### Watch it grow
#
# No one can see a finished model learn. So the course trained small models of its own, with bytes as tokens, and recorded the ratio:
# eight architectures, two seeds each. Now you train one of them live: three blocks of width 128, for its first steps.

# %%
record = pd.read_csv(assets.path("massive_activations_trajectories"))
ARCHITECTURE = ["blocks", "width", "heads", "positions", "bos"]
young = dict(blocks=3, width=128, heads=4, positions="rotary", bos=True, seed=0)
seen = record[(record[list(young)] == pd.Series(young)).all(axis=1)]
steps = [step for step in sorted(seen.step.unique()) if step <= cfg.live_steps]
run = trajectories.trajectory(**young, steps=cfg.live_steps, checkpoints=steps[::3], progress=True)
null = ma.initial_ratio(128 * young["width"])
chart = figures30.emergence(seen, null, title="Your run follows the record; then it goes on", live=pd.DataFrame(run))

# %% [markdown]
# At step 0 every block lies in the gray band of the null. The ratio sinks a little, then it rises, in all blocks together.
# Points are your run, lines are the record. They agree as long as text, seed and machine agree.
#
# The course trained one model longer: six blocks, 8,000 steps, of four seeds the one that grew most. At its end it shows
# the same signs as SmolLM2: the first position and one dimension, whatever the text. But does it *need* its number? We set it to 0 behind one block at a time.

# %%
small = llm.load_lm(assets.path("massive_activations_lm"))
_, held_out = trajectories.split(llm.byte_tokens(trajectories.training_text()))
reference = record[record.groupby(ARCHITECTURE + ["seed"]).step.transform("max") == record.step.max()]
end = reference[reference.step == reference.step.max()]
unseen = trajectories.fixed_windows(held_out, small.config, 20)
plain = llm.mean_loss(small, unseen)
rows = []
for row in end.itertuples():
    with llm.edit_output(small, row.block, llm.set_scalar(0, row.dimension, 0.0)):
        rows.append({"block": row.block, "ratio": round(row.ratio, 1), "over the null": round(row.ratio / null, 1),
                     "largest at position 0 [% of windows]": round(100 * row.at_start), "dimension": row.dimension,
                     "at 0 the loss grows by [nats]": f"{llm.mean_loss(small, unseen) - plain:+.4f}"})
measure.table(rows)

# %% [markdown] part=10
# ## The trade-off: fit and number of parameters
#
# The last column above is nearly 0. **Magnitude is not importance**: SmolLM2 lives by its needle, here it is a habit.
#
# Now the law. We fit the curve of one block by the law and by simpler families: a logarithm (two parameters), an approach to a limit
# (*first order*, three), and a damped spring after a push (*critically damped* has three, *over-* and *underdamped* have four).
# $R^2$ is the share of the variation that a fit explains. *AIC* adds a fee per parameter: lower is better.

# %%
one = reference[reference.block == 2]
t, y = one.step.to_numpy(float), one.ratio.to_numpy()
families = ma.compare_families(t, y)
chosen = ("law", "overdamped", "logarithm")
drawn = {name: ma.fit_family(t, y, name).curve(t) for name in chosen}
chart = figures30.fits(t, y, drawn, title="The law fits, and so does a simpler curve")
measure.table(families.round({"r2": 4, "aic": 1, "behind": 1}).to_dict("records"))

# %% [markdown]
# The law fits well. So does the overdamped spring, with a parameter less: one curve covers the other. Even the plain approach to a
# limit explains 99 %. Read *behind*: how much worse the AIC is than the best.
# A high $R^2$ speaks for a smooth curve. It does not speak for one formula.
#
# Do all architectures look alike? Here are the records of all eight.

# %%
chart = figures30.shapes(record, title="At step 800 the wide and deep model is ahead")
shared = record.groupby(ARCHITECTURE + ["seed"]).step.max().min()
for bos, rows in record[record.step == shared].groupby("bos"):
    print(f"step {shared}, {'with' if bos else 'without'} BOS: largest at position 0 in {100 * rows.at_start.mean():.0f} % of windows")

# %% [markdown]
# Compare the panels at step 800: the long lines are the one model that trained ten times as long.
# Then read the last lines of output. *BOS*, beginning of sequence, is a fixed first symbol. It gives the model a place for its constant;
# without it the ratio grows too, but the largest value hardly ever stands at the first position.
#
# Now move the law yourself. The left panel is the curve. The right one fixes $K$ and fits the rest:
# it shows how badly each $K$ fits. Lower `log_gamma`, or shorten the window, until the decay is out of sight, and watch the right panel.

# %%
lab.explore(
    figures30.compute_valley,
    figures30.draw_valley,
    log_lam=(-2.5, 0.5, 0.1, -0.9),
    log_gamma=(-6.5, -2.5, 0.1, -3.5),
    t0=(0.0, 2.0, 0.1, 0.6),
    A=(10, 300, 10, 100),
    K=(0, 100, 5, 55),
    end=(5000, 500_000, 1000, 143_000),
)

# %% [markdown] part=11
# ## Break it: equal fits, distant parameters
#
# The paper fits equation (3) with a general solver and one start. We do the same on our curves of one seed.
# Then we read the parameters as the paper does: $K$ is the level to which the ratio settles.

# %%
failed, impossible, curves = 0, 0, record[record.seed == 0].groupby(ARCHITECTURE + ["block"])
for _, rows in curves:
    try:
        fit = ma.fit_curve(rows.step.to_numpy(float), rows.ratio.to_numpy(), form="eq9", evaluations=2000)
        impossible += fit.parameters["K"] < 1
    except ma.FitFailed as problem:
        failed, why = failed + 1, problem
print(f"{len(curves)} curves: the solver gives up on {failed}; {impossible} end with K below 1")
if failed:
    print("It says:", why)

# %% [markdown]
# The largest of many sizes is never below their median, so a ratio is never below 1. Such a $K$ is no level of anything.
# The curve may be fine; the parameters are not. Variable projection always finds a curve, but it cannot mend this.
#
# So we test on curves whose parameters we know: half of them peak inside the window, half beyond it.

# %%
found = ma.recovery(ma.random_curves(40))
found["peak"] = found.peak_inside.map({True: "inside the window", False: "beyond it"})
summary = found.groupby("peak", sort=False)[["r2", "gamma_decades", "K_error"]].median()
measure.table(
    [
        {"true peak": peak, "median R2": round(row.r2, 4),
         "gamma off by [powers of ten]": round(row.gamma_decades, 1), "K off by": f"{100 * row.K_error:,.0f} %"}
        for peak, row in summary.iterrows()
    ]
)

# %% [markdown]
# **Equal $R^2$, useless parameters.** If the decay is not in the window, nothing in the data tells $\gamma$ or $K$.
#
# **Exercise 5 · difficulty 4 of 5 · 10 minutes.** Prove it: find two parameter sets with nearly the same curve and very different $K$.


# %%
def my_twins():
    """Return two tuples (A, lam, gamma, t0, K) with nearly one curve on steps 0 to 143,000.

    TODO: the curves differ by less than 1 % of the first one's range, the K by more than 10 times
        (no K near 0: the larger one is at least a tenth of that range).
    APPROACH: while lam x is tiny the law is a logarithm, and log(c x) = log(x) + log(c):
        scale gamma and t0 by c, divide lam by c, and let K take the rest.
    EXAMPLE: (A, lam, gamma, t0, K) and (A, lam / c, c gamma, c t0, K - A log(c)).
    """
    ### BEGIN SOLUTION
    A, lam, gamma, t0, K = 10.0, 1e-6, 1e-3, 0.5, 5.0
    c = 1e6
    return (A, lam, gamma, t0, K), (A, lam / c, c * gamma, c * t0, K - A * np.log(c))
    ### END SOLUTION


# %%
check.twins(my_twins)

# %%
lab.hint("30.twins", 1)

# %% [markdown]
# ### A leak
#
# The paper then predicts the fitted parameters from the architecture: 188 blocks of nine Pythia models, split at random into 80 % and 20 %.
# For $K$ it reports $R^2 = 0.847$. But blocks of *one* model land on both sides of such a split.
#
# **Exercise 6 · difficulty 3 of 5 · 10 minutes.** Score a forest twice: with a random split, and by predicting each model from the other eight.


# %%
def my_scores(features, target, models):
    """Return (R2 on a random 20 %, R2 when each model is predicted from the others).

    TODO: features (n, k), target (n,), models (n,) names; for the second score, pool all predictions.
    APPROACH: RandomForestRegressor(50, random_state=0); r2_score(true, predicted).
    EXAMPLE: for a target that is one random number per model, the first is high, the second is not.
    """
    ### BEGIN SOLUTION
    order = np.random.default_rng(0).permutation(len(target))
    test, train = np.split(order, [len(target) // 5])
    forest = RandomForestRegressor(50, random_state=0).fit(features[train], target[train])
    random_split = r2_score(target[test], forest.predict(features[test]))
    predicted = np.empty(len(target))
    for model in set(models):
        out = models == model
        forest = RandomForestRegressor(50, random_state=0).fit(features[~out], target[~out])
        predicted[out] = forest.predict(features[out])
    return random_split, r2_score(target, predicted)
    ### END SOLUTION


# %%
check.scores(my_scores)

# %%
lab.hint("30.scores", 1)

# %% [markdown]
# Now the leak itself. `leak_demo` draws a target *without any law*: one random number for each of the nine models, plus a little noise.
# Beside it stands a real target: how high the ratio is in each block of our own models, early in training.

# %%
leak = ma.leak_demo(seeds=range(4))
own, last = [], record.groupby(ARCHITECTURE + ["seed"]).step.max().min()
for (blocks, width, heads, *others), rows in record[record.step == last].groupby(ARCHITECTURE):
    name = f"{blocks} blocks, width {width}, {heads} heads, {others}"
    shape = ma.block_table([ma.Architecture(name, blocks, width, heads, 4 * width)])
    own.append(shape.merge(rows.groupby("block", as_index=False).ratio.mean(), on="block"))
own = pd.concat(own, ignore_index=True)
real = pd.concat(
    ma.prediction_scores(own, "ratio", regressors=("random forest",), seed=seed) for seed in range(4)
)
scores = {
    name: [found[found.split == split].r2.tolist() for split in ("random 80/20", "leave one model out")]
    for name, found in (("no law at all", leak), ("our models' ratio", real))
}
chart = figures30.leak(scores, title="A random split rewards remembering the model")

# %% [markdown]
# A target without any law scores about as high as the paper's best result, if the split is random.
# Predict a model that was not seen, and nothing is left. So 0.847 is no evidence for a law of architecture.
#
# ### A pretended phone
#
# Keeping every block's output of four windows takes memory. A probe needs few numbers of each.
# The model's weights are 513 MiB in 32 bits. Can a phone with 640 MiB do it?

# %%
def kept_all():
    """Keep the outputs of all blocks in four windows, then look."""
    return [llm.block_outputs(model, windows[i : i + 1]) for i in range(4)]


def looked_at_once():
    """Look at each of the four windows, keep numbers only."""
    return ma.probe(model, windows[:4], progress=False)


for name, way in (("keep, then look", kept_all), ("look, then forget", looked_at_once)):
    try:
        with measure.virtual_device(memory=640 * MiB, name="phone") as phone:
            way()
        print(f"{name}: fits, at most {phone.peak / MiB:.0f} MiB\n")
    except measure.OutOfBudget as problem:
        print(f"{name}: {problem}\n")

# %% [markdown] part=12
# ## The paper says, we measured
#
# First the paper's own arithmetic. Its headline is a mean $R^2$ of 0.984 over 188 blocks, from its Table 1.
# Table 5 of the same paper lists the two forms of the law for each model. The best of both should give Table 1. Does it?

# %%
tables = ma.paper_tables()
tables["table5_best"] = tables[["table5_eq9", "table5_eq14"]].max(axis=1)
measure.table(
    tables[["model", "blocks", "table1_best", "table5_best"]].to_dict("records")
    + [{"model": "all 188 blocks", "blocks": int(tables.blocks.sum()),
        "table1_best": round(ma.headline(tables, ["table1_best"]), 4),
        "table5_best": round(ma.headline(tables, ["table5_best"]), 4)}]
)

# %% [markdown]
# The two columns hold nearly the same nine numbers, attached to *other models*. It looks as if one of the tables had its labels mixed up.
# With the labels of Table 5 the mean is 0.98, and "small models fit worst" is gone. Treat 0.98 as the honest headline.
#
# Now our own numbers: the law fitted to every block of every record. What small scale cannot show:
#
# - Our small models reach no ratio of 1,000; the paper's small ones do not either. They show no early peak;
#   the paper sees some even in a model as small as ours, after far more steps.
# - SmolLM2's weights come in 4 bits; full precision is unchecked. Other models need other scalars, or none.
# - The paper could not be opened here. Its numbers come from notes on its second version.
# - The paper trained nothing and changed nothing: it observes. That an architect could *control* these numbers is not tested.

# %%
fits = [
    ma.fit_varpro(rows.step.to_numpy(float), rows.ratio.to_numpy())
    for _, rows in record.groupby(ARCHITECTURE + ["seed", "block"])
]
r2 = sum(fit.r2 for fit in fits) / len(fits)
print(f"{len(fits)} curves fitted")
lab.claim("massive.mean_r2", measured=r2, tolerance=0.02,
          note="our small models, variable projection; R2 is high for many smooth families")
lab.claim("massive.mean_r2_table5", measured=ma.headline(tables, ["table5_best"]), tolerance=0.002,
          note="recomputed from the paper's Table 5, best of both forms")
lab.claim("massive.k_predicted", measured=max(scores["no law at all"][0]), tolerance=0.05, shown=False,
          note="our target holds no law at all; the same split scores this")
lab.claim("massive.mean_changes_nothing", tolerance=2,
          measured=100 * (factor["set to its mean over other windows"] - 1),
          note="another model; one scalar behind one block")

# %% [markdown] part=13
# ## At full scale
#
# Set `COURSE_SCALE=full` before you start Jupyter, on a machine with a CUDA GPU and internet. The cells above then read
# Pythia-410M on RedPajama, and train the small model to its end. Two more things are real code, and need the hub:
# `load_release("410m")` reads the authors' published measurements, and `revision_run` measures a checkpoint afresh.
# `sweep` runs it over sizes and steps, on this machine or on a Ray cluster:
#
# ```python
# from course_lib.sweep import grid, sweep
# settings = grid(size=["70m", "160m", "410m"], step=[0, 512, 1000, 4000, 16000, 64000, 143000])
# found = sweep(ma.revision_run, settings, folder="pythia", engine="ray")
# ```
#
# What would it cost? Weights to fetch, for the 154 checkpoints of each model and for one:

# %%
rows = []
for shape in ma.PYTHIA:
    vocabulary = 2 * 50_304 * shape.width  # tokens in, tokens out; 2 bytes a weight
    weights = 12 * shape.blocks * shape.width**2 + vocabulary
    rows.append({"model": shape.name, "blocks": shape.blocks, "width": shape.width, "heads": shape.heads,
                 "one checkpoint [GB]": round(2 * weights / 1e9, 2),
                 "all 154 [GB]": round(154 * 2 * weights / 1e9)})
measure.table(rows)

# %% [markdown] part=14
# ## Quiz and reflection
#
# Answer with a letter in place of `None`. Then a question without a right answer:
# which result of yours would you doubt most, now that you know how a fit can deceive?

# %% tags=["learner"]
lab.quiz("30.q1", answer=None)
lab.quiz("30.q2", answer=None)
lab.quiz("30.q3", answer=None)

# %% tags=["solution"]
lab.quiz("30.q1", answer="a")
lab.quiz("30.q2", answer="b")
lab.quiz("30.q3", answer="c")

# %%
lab.reflect("30.reflection", text="")
lab.scoreboard(
    headline=f"one number of {size.numel():,} at 0: perplexity times {factor['set to 0']:,.0f}",
    ratio=f"{table[table.block == needle].ratio.mean():,.0f} behind block {needle}",
    law=f"R2 {r2:.3f} over {len(fits)} curves",
    leak=f"R2 {max(scores['no law at all'][0]):.2f} without any law, by a random split",
)

# %% [markdown]
# ## Summary
#
# - A real language model carries one number of the first token that is ten thousand times the typical one, whatever the text.
# - Setting it to 0 ruins the model, setting it to a constant changes nothing: it is a learned bias. Eight bits must spare it.
# - Small models grow such numbers too, from the null upwards, and do not need them. Magnitude is not importance.
# - A five-parameter law fits well, and so do simpler curves. Without the decay in the window its parameters mean nothing.
# - A random split over blocks of the same models rewards remembering. Leave whole models out.
#
# ## References
#
# - Gallego-Feliciano et al.: [Hidden dynamics of massive activations in transformer training](https://arxiv.org/abs/2508.03616), 2025.
# - Sun, Chen, Kolter, Liu: [Massive activations in large language models](https://arxiv.org/abs/2402.17762), 2024.
# - Gu et al.: [When attention sink emerges in language models](https://arxiv.org/abs/2410.10781), 2024.
# - Guo et al.: [Active-dormant attention heads](https://arxiv.org/abs/2410.13835), 2024.
# - [A refined analysis of massive activations in LLMs](https://arxiv.org/abs/2503.22329), 2025: not every one is critical.
# - Biderman et al.: [Pythia](https://arxiv.org/abs/2304.01373), 2023. Allal et al.: [SmolLM2](https://arxiv.org/abs/2502.02737), 2025.
