# ---
# jupyter:
#   lab:
#     minutes: 50
#     seconds: 60
#     memory: 2 GiB
#     level: beginner
# ---

# %% [markdown] part=1
# # Where memory goes: one training step, byte by byte
#
# After this lab you can:
# - name the five parts of a training step's memory, and say when each is alive;
# - compute what a layer keeps for its backward pass, to the byte, before you run it;
# - choose between batch size, resolution, checkpointing and precision when a step does not fit.

# %%
import copy
import functools
import itertools
import math

import timm
import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame
from timm.models._efficientnet_blocks import InvertedResidual, SqueezeExcite
from torch import nn
from torch.utils.checkpoint import checkpoint

from course_lib import assets, lab, measure, plotting
from course_lib.lab.checks import lab01 as check
from course_lib.lab.claims import read_claims
from course_lib.measure import MiB, format_bytes


lab.start("01_where_memory_goes", minutes=1)
cfg = lab.settings(
    laptop=dict(pixels=96, batch=8, budget=256 * MiB, rounds=3, device="cpu"),
    full=dict(pixels=224, batch=32, budget=4096 * MiB, rounds=10, device="cuda"),
)

# %% [markdown] part=2
# ## The question
#
# EfficientNet-Lite0 is a network for phones. Its weights come from *ImageNet*, a million photographs.
# We want it to tell animals from food in OpenMoji's drawings. The phone gives us 256 MiB.
# (1 MiB is 2**20 bytes; a `float32` number takes 4 bytes.)

# %%
pictures = assets.load("openmoji", size=cfg.pixels, groups=["Animals & Nature", "Food & Drink"])
order = torch.randperm(len(pictures))[: 2 * cfg.batch]
sample = pictures.subset(order)
images = assets.to_input(sample.images).to(cfg.device)
labels = sample.labels.to(cfg.device)
lite0 = assets.model("efficientnet_lite0", num_classes=2).train().to(cfg.device)

weights = measure.file_size(lite0.state_dict())
print(f"weights of the network   {format_bytes(weights)}")
print(f"{len(images)} pictures              {format_bytes(images.nbytes)}")
print(f"memory of the phone      {format_bytes(cfg.budget)}")

# %% [markdown]
# Weights and pictures together fill a small part of the phone. So we train two steps on it.
# A *training step* computes the error, then a *gradient* for each weight, then new weights.
# A gradient says how the error changes when its weight changes. The error is called the *loss*.


# %%
def make_step(network, images, labels, optimizer, forward=lambda network, images: network(images)):
    """Return a function that trains `network` for one step on one batch."""

    def step():
        optimizer.zero_grad()
        loss = F.cross_entropy(forward(network, images), labels)
        loss.backward()
        optimizer.step()

    return step


adam = torch.optim.Adam(lite0.parameters(), lr=1e-4)
step = make_step(lite0, images, labels, adam)
done = 0
try:
    with measure.virtual_device(memory=cfg.budget):
        while done < 2:
            step()
            done += 1
    print("Both steps fit.")
except measure.OutOfBudget:
    print(f"Step {done + 1} on {len(images)} pictures does not fit into {format_bytes(cfg.budget)}.")

# %% [markdown] part=3
# `measure.virtual_device` pretends to be the phone. `Adam` is the *optimizer*: it makes the new weights.
#
# **The first step fits, the same step a second time does not. Where does all that memory go?**
# And what has the first step left behind? The full error message waits at the end of the lab.
#
# ## Look
#
# A layer turns a stack of maps into another stack of maps. One map is called a *channel*.
# We send one picture through the network and look at what four of its layers give out.

# %%
watched = ["conv_stem", "blocks.1.0.conv_pw", "blocks.2.1.conv_dw", "blocks.4.0.conv_pwl"]
maps, viewer = {}, copy.deepcopy(lite0).eval()
for name in watched:
    viewer.get_submodule(name).register_forward_hook(
        lambda module, inputs, output, name=name: maps.update({name: output[0].cpu()})
    )
with torch.no_grad():
    viewer(images[:1])
with plotting.figure(
    alt=f"The picture '{sample.captions[0]}' and seven maps from each of four layers; "
    "maps get smaller and more abstract with depth.",
    width=8, height=4.6, rows=4, cols=8,
) as (fig, axes):
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
    for row, (name, stack) in zip(axes, maps.items(), strict=True):
        row[0].imshow(sample.images[0].permute(1, 2, 0))
        row[0].set_ylabel(f"{stack.shape[0]} maps\n{stack.shape[1]} × {stack.shape[2]}")
        row[1].set_title(f"after {name}", loc="left")
        for axis, one in zip(row[1:], stack, strict=False):
            axis.imshow(one, cmap="gray")

# %% [markdown] part=4
# Each row shows seven maps; the label on the left gives their true number and size.
# Early maps still show the drawing. Late maps are small, but there are many of them.
# A picture makes such stacks in every layer, and a batch makes them for every picture.
#
# ## Predict
#
# A training step needs memory for five things:
#
# 1. **parameters**: the weights, and the running averages of the norm layers;
# 2. **gradients**: one number per weight;
# 3. **optimizer state**: Adam keeps two running averages per weight;
# 4. **saved activations**: maps of the forward pass that the backward pass will read;
# 5. **temporaries**: everything that lives only for a moment.
#
# The *forward pass* computes the loss. The *backward pass* computes the gradients, last layer first.
# Our second network is a small *vision transformer* (ViT). It has more weights than Lite0.
# It cuts the picture into patches of 16 × 16 pixels. Each patch becomes a *token*, a row of numbers.
# Guess for a batch of 8 pictures at 96 × 96. A wrong guess costs nothing.

# %%
lab.predict(
    "01.largest",
    question="Lite0: which of the five parts is the largest? Its number, 1 to 5",
    guess=None,
)
lab.predict(
    "01.lite0_ratio",
    question="Lite0: saved activations, as a multiple of the parameters",
    guess=None,
    unit="×",
)
lab.predict(
    "01.vit_ratio",
    question="ViT: saved activations, as a multiple of the parameters",
    guess=None,
    unit="×",
)

# %% [markdown] part=5
# ## The naive way, measured
#
# The ViT gets random weights. That is fair here: bytes depend on shapes, not on values.
# We run each network for one step, so that Adam's state exists. Then we measure the next step.
# A third bar is Lite0 at work, without training: `torch.no_grad()` tells PyTorch to keep nothing.

# %%
vit = timm.create_model("vit_tiny_patch16_224", img_size=cfg.pixels, num_classes=2).to(cfg.device)
networks = {"Lite0": lite0, "ViT": vit}
batch, answers = images[: cfg.batch].clone(), labels[: cfg.batch].clone()

optimizers = {"Lite0": adam, "ViT": torch.optim.Adam(vit.parameters(), lr=1e-4)}
peaks, saved = {}, {}
for name, network in networks.items():
    one_step = make_step(network, batch, answers, optimizers[name])
    one_step()
    peaks[name] = measure.peak_memory(one_step, model=network)
    saved[name] = measure.saved_activations(lambda net=network: F.cross_entropy(net(batch), answers))
lite0.zero_grad()
with torch.no_grad():
    at_work = {"Lite0, at work": measure.peak_memory(lambda: lite0(batch), model=lite0)}
measure.stacked_bar(
    {name: peak.parts for name, peak in (at_work | peaks).items()},
    title=f"Memory at the peak of one training step, batch {cfg.batch}",
    alt="; ".join(f"{name}: {peak!r}" for name, peak in (at_work | peaks).items()),
)

# %% [markdown]
# The *peak* is the moment when most bytes are alive. Only the peak decides whether a step fits.
# At work, each map is thrown away as soon as the next one exists. In training, maps must stay.
# In Lite0 saved activations rule. In the ViT they meet a rival: Adam's state is as long.
# Gradients are nearly missing in both bars of training. To see why, we look at the whole step.

# %%
with plotting.figure(
    alt="Live memory over one step. Both curves rise during the forward pass, peak, and fall during "
    "the backward pass. Lite0 forms a high mountain; the ViT a low one that falls little.",
    width=8.5, height=3.4, cols=2,
) as (fig, axes):
    for axis, (name, peak) in zip(axes, peaks.items(), strict=True):
        live = [n / MiB for n in peak.timeline]
        top = live.index(max(live))
        base = (peak.parts["parameters"] + peak.parts["optimizer state"]) / MiB
        axis.fill_between(range(len(live)), live, color=plotting.PALETTE[4], alpha=0.6)
        axis.plot(live)
        axis.axhline(base, color="black", linestyle=":")
        axis.annotate("parameters + optimizer state", (len(live), base), ha="right", va="bottom", fontsize=8)
        axis.plot(top, live[top], "o")
        axis.annotate("forward ends ", (top, live[top]), ha="right", fontsize=9)
        axis.set(title=name, xlabel="events: tensors made and freed", ylabel="live memory [MiB]")
        axis.set_ylim(0, max(max(p.timeline) for p in peaks.values()) / MiB * 1.1)

# %% [markdown]
# Each panel is one step, from left to right. The dotted line never goes away.
# The dip on the left is `zero_grad`: it throws away the gradients of the step before.
# The forward pass climbs: layer after layer keeps its maps. At the dot the loss is known.
# The backward pass uses up the maps and walks down. Meanwhile the gradients grow.
# So gradients are small at the peak: they arrive while the maps leave.
# Adam's state is made at the end of the first step and stays. That answers the riddle of part 2:
# the second forward pass climbs from a higher floor.
# The right end is the optimizer. It updates weight after weight, with short-lived results.
#
# Who keeps the maps? The meter knows the module behind each saved tensor.

# %%
stages = {}
for name, nbytes in saved["Lite0"].by_module(depth=2).items():
    if not name.startswith("("):
        stages[name] = (nbytes, sum(p.nbytes for p in lite0.get_submodule(name).parameters()))
with plotting.figure(
    alt="For each stage of Lite0: memory of its weights and of its saved activations. "
    "Early stages keep many activations and have few weights; late stages the reverse.",
    width=7.5, height=3.8,
) as (fig, axis):
    places = range(len(stages))
    activations, held = zip(*stages.values(), strict=True)
    axis.barh([p - 0.2 for p in places], [n / MiB for n in activations], 0.4, label="saved activations")
    axis.barh([p + 0.2 for p in places], [n / MiB for n in held], 0.4, label="weights", hatch="//")
    axis.set_yticks(list(places), list(stages))
    axis.invert_yaxis()
    axis.set(xlabel="MiB", title="Lite0, from input (top) to output (bottom)")
    axis.legend()

# %% [markdown] part=6
# The two kinds of bars run in opposite directions. Early maps are large, and their layers have few weights.
# Late layers have most of the weights and the smallest maps.
# So a small file says nothing about the memory of training.
#
# ## The idea: a layer keeps what its derivative reads
#
# PyTorch's *autograd* records the forward pass and runs the derivatives backward.
# Write $x$ for a layer's input, $y$ for its output, and $g=\partial L/\partial y$ for the gradient that arrives.
# A batch has $B$ pictures, $C$ channels of $H\times W$ numbers. Everything is `float32`.
#
# A **convolution** with weight $w$ needs its input for the gradient of the weight ($\star$: correlation):
#
# $$\frac{\partial L}{\partial w} = x \star g \qquad\Rightarrow\quad 4\,BCHW\ \text{bytes} \tag{1}$$
#
# **Batch norm** subtracts the mean of each channel and divides by its spread. It keeps its input and two numbers per channel:
#
# $$y=\gamma\,\frac{x-\mu}{\sigma}+\beta \qquad\Rightarrow\quad 4\,BCHW + 8\,C\ \text{bytes} \tag{2}$$
#
# **ReLU6** clips to the range 0 to 6. Its derivative asks where the input lay:
#
# $$\frac{\partial L}{\partial x} = g\cdot 1_{0<x<6} \qquad\Rightarrow\quad 4\,BCHW\ \text{bytes} \tag{3}$$
#
# A **linear layer** maps $N$ rows of $D$ numbers; its weight's gradient needs the input:
#
# $$\frac{\partial L}{\partial w} = g^\top x \qquad\Rightarrow\quad 4\,ND\ \text{bytes} \tag{4}$$
#
# **Attention** lets each of $T$ tokens look at all others. It compares queries $q$ with keys $k$ and mixes values $v$ (each $T\times d$):
#
# $$P=\mathrm{softmax}\!\left(qk^\top/\sqrt d\right),\quad o = P\,v \qquad\Rightarrow\quad q, k, v\ \text{and}\ P\ (T\times T) \tag{5}$$
#
# | equation | function | test |
# | --- | --- | --- |
# | (1) (2) (3) | your `conv_chain_bytes`; `measure.saved_activations` | `tests/lib/test_measure_saved.py` |
# | (4) | your `mlp_bytes`; `measure.saved_activations` | `tests/labs/answers/lab01.py` |
# | (5) | your `attention_bytes`; `measure.saved_activations` | `tests/labs/answers/lab01.py` |
# | the five parts | `measure.peak_memory` | `tests/lib/test_measure_peak.py` |
#
# One rule is missing: a tensor that two layers keep is stored **once**.
#
# ### An experiment: the sandwich
#
# We put an operation between two convolutions and ask how many bytes the meter finds *more*.
# The neighbors matter: what they keep anyway costs the operation nothing.
# *Frozen* means that a layer's parameters are not trained. PyTorch calls it `requires_grad=False`.


# %%
def kept(*layers):
    """Return the bytes that a chain of layers keeps for its backward pass."""
    chain = nn.Sequential(*layers)
    return measure.saved_activations(lambda: chain(x)).total


x = torch.randn(4, 32, 16, 16)
first, last = nn.Conv2d(32, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1)
without = kept(first, last)


def extra(operation):
    """Return the bytes per number that `operation` adds between two convolutions."""
    return (kept(first, operation, last) - without) / x.numel()


class Compute(nn.Module):
    """A module that only calls a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def frozen(layer):
    """Return the layer in inference mode and without trained parameters."""
    return layer.eval().requires_grad_(False)


scale, shift = torch.rand(32, 1, 1), torch.rand(32, 1, 1)

# %%
operations = {
    "convolution": nn.Conv2d(32, 32, 1),
    "convolution, frozen": frozen(nn.Conv2d(32, 32, 1)),
    "linear": nn.Linear(16, 16),
    "linear, frozen": frozen(nn.Linear(16, 16)),
    "batch norm": nn.BatchNorm2d(32),
    "batch norm, frozen": frozen(nn.BatchNorm2d(32)),
    "x * scale + shift, constants": Compute(lambda x: x * scale + shift),
    "layer norm": nn.LayerNorm(16),
    "ReLU": nn.ReLU(),
    "ReLU, inplace": nn.ReLU(inplace=True),
    "ReLU6": nn.ReLU6(),
    "ReLU6, inplace": nn.ReLU6(inplace=True),
    "hard-swish": nn.Hardswish(),
    "hard-swish, inplace": nn.Hardswish(inplace=True),
    "SiLU": nn.SiLU(),
    "GELU": nn.GELU(),
    "sigmoid": nn.Sigmoid(),
    "softmax": nn.Softmax(dim=-1),
    "dropout": nn.Dropout(0.2),
    "add a constant": Compute(lambda x: x + 1.0),
    "average pooling": nn.AvgPool2d(3, stride=1, padding=1),
    "times its own average": Compute(lambda x: x * x.mean((2, 3), keepdim=True)),
}
rows = [{"operation": name, "extra bytes per number": round(extra(op), 2)} for name, op in operations.items()]
measure.table(rows).set_index("operation")

# %% [markdown]
# Convolution and ReLU6 add one map of 4-byte numbers, as equations (1) and (3) say. Now the surprises.
#
# - A frozen **linear** layer keeps nothing: equation (4) is not needed. A frozen **convolution** still keeps its input.
#   Its kernel hands the input to the backward pass in any case.
# - A frozen **batch norm** keeps as much as before. Yet in inference mode it is only `x * scale + shift`.
#   Written that way, with constants, it keeps no map at all. Lab 10 is built on this row.
# - **ReLU** is free. Its derivative can be read off its *output*, and the next convolution keeps that anyway.
#   Sigmoid and softmax also use their output.
# - **ReLU6, hard-swish, SiLU and GELU** keep their input, a map nobody else needs.
#   **`inplace=True` saves nothing:** PyTorch must keep the old values, so it makes a copy first.
# - **Dropout** keeps a random mask, on a CPU as 4-byte numbers.
# - **Adding** is free. Average pooling is not: PyTorch keeps its input, although only the shape matters.
# - A **product** of two maps needs both sides, so it keeps both.
#
# The small rests are real. Batch norm keeps the $8\,C$ of equation (2), layer norm two numbers per row.
#
# Attention is missing. *Fused* attention is one operation that never stores $P$.
# It recomputes $P$ in the backward pass from one number per token.


# %%
def fused(q, k, v):
    return F.scaled_dot_product_attention(q, k, v)


def unfused(q, k, v):
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)  # (batch, heads, tokens, tokens)
    return scores.softmax(dim=-1) @ v


def attention_kept(function, tokens, batch=2, heads=3, head_dim=64):
    q, k, v = (torch.randn(batch, heads, tokens, head_dim, requires_grad=True) for _ in "qkv")
    return measure.saved_activations(lambda: function(q, k, v)).total


token_counts = [16, 64, 128, 256, 400]
with plotting.figure(alt="Kept bytes over tokens: fused grows in a straight line, unfused bends upward.") as (fig, axis):
    for function, marker in ((fused, "o"), (unfused, "s")):
        axis.plot(
            token_counts, [attention_kept(function, t) / MiB for t in token_counts],
            marker=marker, label=function.__name__,
        )
    axis.set(xlabel="tokens", ylabel="kept for backward [MiB]", title="Attention, 2 pictures, 3 heads")
    axis.legend()

# %% [markdown] part=7
# The unfused curve bends: the matrix $P$ grows with the square of the tokens. The fused one is a straight line.
# For few tokens the lines cross: fused attention also keeps its output.
#
# ## Implement: four formulas
#
# **Exercise 1 · difficulty 2 of 5 · 7 minutes.** Most blocks of Lite0 repeat this chain.
# The input goes through a convolution, batch norm in training mode, and ReLU6.


# %%
def conv_chain_bytes(batch, channels_in, channels_out, height, width, stride):
    """Return the bytes that convolution -> batch norm -> ReLU6 keeps for backward.

    The input has the shape (batch, channels_in, height, width). The convolution gives
    channels_out maps of (height // stride) x (width // stride). All numbers are float32.

    TODO: add up equations (1), (2) and (3).
    APPROACH: count the numbers of the input map and of an output map. Which layer
        keeps which one? Do not forget what batch norm keeps per channel.
    EXAMPLE: conv_chain_bytes(1, 1, 1, 2, 2, 1) is 56: three maps of 4 numbers, and 8.
    """
    ### BEGIN SOLUTION
    map_in = batch * channels_in * height * width
    map_out = batch * channels_out * (height // stride) * (width // stride)
    return 4 * (map_in + map_out + map_out) + 8 * channels_out
    ### END SOLUTION


# %%
check.conv_chain_bytes(conv_chain_bytes)

# %%
lab.hint("01.conv_chain_bytes", 1)

# %% [markdown]
# **Exercise 2 · difficulty 2 of 5 · 7 minutes.** The other half of a ViT block is an *MLP*:
# linear layer, GELU, linear layer. Below it other layers are trained, so gradients must pass through.


# %%
def mlp_bytes(batch, tokens, width, hidden, trained):
    """Return the bytes that linear (width -> hidden) -> GELU -> linear (hidden -> width) keeps.

    The input has the shape (batch, tokens, width). If `trained` is False, both linear
    layers are frozen.

    TODO: use equation (4) for each linear layer, and the table's row for GELU.
    APPROACH: follow the data. What is the input of each of the three operations?
        Which of these inputs is still needed when the weights are frozen?
    EXAMPLE: mlp_bytes(1, 1, 2, 5, trained=True) is 48, and 20 with trained=False.
    """
    ### BEGIN SOLUTION
    rows = batch * tokens
    before_gelu = rows * hidden
    linear_inputs = rows * width + rows * hidden
    return 4 * (before_gelu + linear_inputs) if trained else 4 * before_gelu
    ### END SOLUTION


# %%
check.mlp_bytes(mlp_bytes)

# %%
lab.hint("01.mlp_bytes", 1)

# %% [markdown]
# **Exercise 3 · difficulty 3 of 5 · 8 minutes.** Attention, both ways.
# Fused attention keeps $q$, $k$, $v$, its output $o$, and one number per token and head.
# Unfused attention keeps what equation (5) says.


# %%
def attention_bytes(batch, heads, tokens, head_dim, is_fused):
    """Return the bytes that attention keeps, for q, k, v of (batch, heads, tokens, head_dim).

    TODO: one formula for fused attention, one for unfused.
    APPROACH: count the numbers of q. How many tensors of that size are kept?
        What else is kept: one number per token and head, or one per pair of tokens?
    EXAMPLE: attention_bytes(1, 1, 4, 2, True) is 144; attention_bytes(1, 1, 4, 2, False) is 160.
    """
    ### BEGIN SOLUTION
    one = batch * heads * tokens * head_dim
    if is_fused:
        return 4 * (4 * one + batch * heads * tokens)
    return 4 * (3 * one + batch * heads * tokens * tokens)
    ### END SOLUTION


# %%
check.attention_bytes(attention_bytes)

# %%
lab.hint("01.attention_bytes", 1)

# %% [markdown]
# **Exercise 4 · difficulty 4 of 5 · 12 minutes.** *Checkpointing* trades time for memory.
# In the forward pass a block keeps only its input. In the backward pass it runs forward once more,
# and keeps its inner maps for that short time. Blocks go backward one by one, the last one first.
# When a block is done, its input is freed. What is the largest number of bytes kept at one moment?


# %%
def checkpointed_bytes(inputs, kept):
    """Return the most bytes kept at any moment of the backward pass, with every block checkpointed.

    `inputs[i]` is the size of block i's input. `kept[i]` is what block i keeps without
    checkpointing; its input is a part of it. Both are lists of bytes in forward order.

    TODO: find the worst block, and what is alive while it goes backward.
    APPROACH: when block i has run again, which inputs are still waiting? Add what block i
        keeps now, but count its input only once. Take the largest sum.
    EXAMPLE: checkpointed_bytes([10, 5], [40, 38]) is 48: input 10 waits, block 1 keeps 38.
    """
    ### BEGIN SOLUTION
    worst, waiting = 0, 0
    for block_input, block_kept in zip(inputs, kept, strict=True):
        worst = max(worst, waiting + block_kept)
        waiting += block_input
    return worst
    ### END SOLUTION


# %%
check.checkpointed_bytes(checkpointed_bytes)

# %%
lab.hint("01.checkpointed_bytes", 1)

# %% [markdown] part=8
# ## Assemble: the whole network on paper
#
# Now all layers of Lite0 at once. A *hook* is a function that PyTorch calls whenever a layer runs.
# Ours notes what the equations say. The network runs on the `meta` device:
# tensors there have a shape but no numbers, so nothing is computed.
#
# One detail is new. Some convolutions add zeros around their input first (`Conv2dSame`).
# Then they keep the larger copy.


# %%
def padded(module, size):
    """Return height or width of what a convolution keeps: its input, perhaps with zeros around."""
    if not isinstance(module, Conv2dSame):
        return size
    stride, kernel = module.stride[0], module.kernel_size[0]
    return max(size, (math.ceil(size / stride) - 1) * stride + kernel)


def keeps(module, x):
    """Return (numbers kept per batch, fixed bytes, numbers of weights) by equations (1) to (4)."""
    if isinstance(module, nn.Conv2d):
        batch, channels, height, width = x.shape
        map_size = padded(module, height) * padded(module, width)
        return batch * channels * map_size, 0, module.weight.numel()
    if isinstance(module, nn.BatchNorm2d):
        return x.numel(), 8 * module.num_features, 0
    if isinstance(module, nn.Linear):
        return x.numel(), 0, module.weight.numel()
    return (x.numel(), 0, 0) if isinstance(module, nn.ReLU6) else (0, 0, 0)


# %%
@functools.cache
def paper_ledger(pixels):
    """Return {layer of Lite0: (numbers kept for one picture, fixed bytes, weights)}."""
    ghost, rows = copy.deepcopy(lite0).to("meta"), {}

    def note(name, module, inputs, output):
        if any(found := keeps(module, inputs[0])):
            rows[name] = found

    for name, module in ghost.named_modules():
        module.register_forward_hook(functools.partial(note, name))
    with torch.no_grad():
        ghost(torch.empty(1, 3, pixels, pixels, device="meta"))
    return rows


on_paper = sum(4 * cfg.batch * n + fixed for n, fixed, _ in paper_ledger(cfg.pixels).values())
by_meter = measure.saved_activations(lambda: lite0(batch)).total
print(f"on paper  {on_paper:,} bytes")
print(f"by meter  {by_meter:,} bytes")
assert on_paper == by_meter

# %% [markdown]
# Two methods, one number: equations (1) to (4) explain every byte that Lite0 keeps.
#
# Your formulas can do the same for the first block of the ViT.

# %%
tokens, heads, width = (cfg.pixels // 16) ** 2 + 1, 3, 192
mine = {
    "blocks.0.mlp": mlp_bytes(cfg.batch, tokens, width, 4 * width, True),
    "blocks.0.attn": attention_bytes(cfg.batch, heads, tokens, width // heads, True),
}
metered = {
    "blocks.0.mlp": saved["ViT"].by_module(depth=3)["blocks.0.mlp"],
    "blocks.0.attn": saved["ViT"].by_module()["blocks.0.attn"],
}
for name, nbytes in mine.items():
    yours = "the exercise is still open" if nbytes is None else f"{nbytes:,} bytes"
    print(f"{name:14} meter {metered[name]:,} bytes, yours: {yours}")

# %% [markdown] part=9
# With exercises 2 and 3 done, each line shows the same number twice.
# One patch is one token, and the network adds one more for the answer.
#
# ## Measure again
#
# First, back to your predictions. Remember why the two networks differ.
# A convolution uses each weight at every pixel, so few weights make many maps.
# A ViT has more weights and, at this size, few tokens.

# %%
parts = peaks["Lite0"].parts
lab.recall("01.largest", measured=1 + list(parts).index(max(parts, key=parts.get)))
for key, name in (("01.lite0_ratio", "Lite0"), ("01.vit_ratio", "ViT")):
    parameters = sum(p.nbytes for p in networks[name].parameters())
    lab.recall(key, measured=round(saved[name].total / parameters, 1))

# %% [markdown]
# Which knobs make Lite0's mountain lower? We try six, and measure the kept bytes each time.
# *Checkpointing* you know from exercise 4. `autocast` computes most layers in *bfloat16*, 2 bytes per number.


# %%
def checkpointed(network, images):
    """Forward pass of Lite0 in which each block keeps only its input."""
    x = network.bn1(network.conv_stem(images))
    for block in itertools.chain.from_iterable(network.blocks):
        x = checkpoint(block, x, use_reentrant=False)
    return network.forward_head(network.bn2(network.conv_head(x)))


def in_bfloat16(network, images):
    """Forward pass with most layers in 2-byte numbers."""
    with torch.autocast(images.device.type, dtype=torch.bfloat16):
        return network(images)


norms_frozen, not_inplace = copy.deepcopy(lite0), copy.deepcopy(lite0)
for module in norms_frozen.modules():
    if isinstance(module, nn.BatchNorm2d):
        frozen(module)
for module in not_inplace.modules():
    if isinstance(module, nn.ReLU6):
        module.inplace = False

# %%
half, smaller = cfg.batch // 2, F.interpolate(batch, size=2 * cfg.pixels // 3)
knobs = {
    "plain": (lite0, lambda: lite0(batch)),
    "batch norm frozen": (norms_frozen, lambda: norms_frozen(batch)),
    "ReLU6 not inplace": (not_inplace, lambda: not_inplace(batch)),
    "half the batch": (lite0, lambda: lite0(batch[:half])),
    "2/3 of the resolution": (lite0, lambda: lite0(smaller)),
    "bfloat16": (lite0, lambda: in_bfloat16(lite0, batch)),
    "checkpointing": (lite0, lambda: checkpointed(lite0, batch)),
}
kept_by = {name: measure.saved_activations(fn, model=net).total for name, (net, fn) in knobs.items()}
measure.table(
    [
        {"knob": name, "kept": format_bytes(n), "of plain": f"{n / kept_by['plain']:.1%}"}
        for name, n in kept_by.items()
    ]
)

# %% [markdown] part=10
# The two rows below *plain* are the traps. Freezing batch norm saves only its two numbers per channel.
# `inplace` makes no difference at all.
# Half the batch keeps half. Two thirds of the resolution keep about $(2/3)^2$, as areas do.
# Bfloat16 keeps a little more than half: it also keeps 2-byte copies of the weights.
# Checkpointing wins by far. But it must have a price.
#
# ## The trade-off: memory against time
#
# For equal work we compare the time for the *same* pictures: the half batch runs twice.
# `measure.compare` runs the variants in turns, so that a busy moment hits all of them.

# %%
def one_batch(forward):
    """Run the forward and the backward pass."""
    lite0.zero_grad()
    F.cross_entropy(forward(), answers).backward()


def two_halves():
    """Run two small batches; their gradients add up."""
    lite0.zero_grad()
    for part in (slice(0, half), slice(half, cfg.batch)):
        (F.cross_entropy(lite0(batch[part]), answers[part]) / 2).backward()


timing = measure.compare(
    {name: functools.partial(one_batch, knobs[name][1]) for name in ("plain", "checkpointing", "bfloat16")}
    | {"half the batch": two_halves},
    rounds=cfg.rounds,
    warmup=0,
)
slower = {name: timing.ratio(name, to="plain") for name in timing.seconds}
with plotting.figure(
    alt="Kept memory against time relative to plain: "
    + ", ".join(f"{n} {kept_by[n] / MiB:.0f} MiB at {t:.2f}" for n, t in slower.items()),
    width=7, height=3.8,
) as (fig, axis):
    for (name, ratio), marker in zip(slower.items(), plotting.MARKERS, strict=False):
        axis.plot(kept_by[name] / MiB, ratio, marker, markersize=9)
        axis.annotate(f"  {name}", (kept_by[name] / MiB, ratio), va="center")
    axis.axhline(1, color="black", linestyle=":", linewidth=1)
    axis.set_xlim(0, kept_by["plain"] / MiB * 1.25)
    axis.set_ylim(0, max(slower.values()) * 1.15)
    axis.set(xlabel="kept for backward [MiB]", ylabel="time, plain = 1", title="Down and left is better")

# %% [markdown]
# Points further left keep less, points further down are faster.
# Checkpointing goes far to the left, and pays with one more forward pass.
# What bfloat16 costs in time depends on the processor: some have a fast unit for it.
# Two half batches pay the fixed costs of every operation twice. And batch norm sees fewer pictures at once.
#
# Now choose for yourself. The sliders use the ledger on paper, so they answer at once.
# The first cell compares it with the meter: kept bytes must agree exactly.
# The whole step is estimated a little too high. The sum counts all gradients,
# but at the peak most of them do not exist yet.


# %%
def by_block(batch, pixels, size):
    """Return {block or single layer: its layers' kept bytes, first layer first}."""
    groups = {}
    for name, (numbers, fixed, weights) in paper_ledger(pixels).items():
        group = ".".join(name.split(".")[:3])  # blocks.2.1.conv_dw -> blocks.2.1
        copies = 2 * weights if size == 2 else 0  # bfloat16 copies of the weights
        groups.setdefault(group, []).append(size * batch * numbers + fixed + copies)
    return groups


def estimate(batch, pixels, checkpointing, precision):
    """Return the five parts of a step of Lite0 with Adam, in bytes; an upper estimate."""
    kept, inner = 0, []
    for name, layers in by_block(batch, pixels, 2 if precision == "bfloat16" else 4).items():
        if checkpointing and name.startswith("blocks"):
            kept += layers[0]  # the first layer keeps the block's input
            inner.append(sum(layers[1:]))
        else:
            kept += sum(layers)
    parameters = sum(p.nbytes for p in lite0.parameters())
    return {
        "parameters": parameters + sum(b.nbytes for b in lite0.buffers()),
        "gradients": parameters,
        "optimizer state": 2 * parameters,
        "saved activations": kept,
        "temporaries": max(inner, default=0),
    }


plain = estimate(cfg.batch, cfg.pixels, False, "float32")
small = estimate(cfg.batch, cfg.pixels, False, "bfloat16")
again = estimate(cfg.batch, cfg.pixels, True, "float32")
print(f"float32   estimate {plain['saved activations']:,}, meter {kept_by['plain']:,} bytes")
print(f"bfloat16  estimate {small['saved activations']:,}, meter {kept_by['bfloat16']:,} bytes")
print(f"checkp.   estimate {again['saved activations']:,}, meter {kept_by['checkpointing']:,} bytes")
print(f"whole step: estimate {format_bytes(sum(plain.values()))}, peak {format_bytes(peaks['Lite0'].total)}")

# %%
def compute(batch, pixels, checkpointing, precision):
    """Return the parts of the plain step and of the chosen one, in MiB."""
    chosen = estimate(batch, pixels, checkpointing, precision)
    naive = estimate(batch, pixels, False, "float32")
    return {
        "part": list(chosen),
        "plain [MiB]": [round(n / MiB, 1) for n in naive.values()],
        "your choice [MiB]": [round(n / MiB, 1) for n in chosen.values()],
    }


def draw(data):
    """Draw both steps as stacked bars."""
    bars = {
        name.removesuffix(" [MiB]"): {p: int(n * MiB) for p, n in zip(data["part"], data[name], strict=True)}
        for name in ("plain [MiB]", "your choice [MiB]")
    }
    sums = {name: sum(bar.values()) for name, bar in bars.items()}
    return measure.stacked_bar(
        bars,
        title="One training step of Lite0 with Adam",
        alt="; ".join(f"{name}: {format_bytes(n)}" for name, n in sums.items()),
    )


lab.explore(
    compute, draw,
    batch=(1, 64, 1, 16), pixels=(64, 224, 32, 96),
    checkpointing=True, precision=["float32", "bfloat16"],
)

# %% [markdown] part=11
# With checkpointing, the temporaries are the block that runs again.
# Try this: at which settings is the optimizer state the longest piece?
# Then the next byte is not to be saved on activations.
#
# ## Break it: the phone, once more
#
# Here is the step that failed in part 2, with its message this time.

# %%
first_step = make_step(lite0, batch[:2], answers[:2], adam)
try:
    with measure.virtual_device(memory=cfg.budget, name="phone"):
        first_step()  # two pictures: it only brings Adam's state onto the phone
        step()
except measure.OutOfBudget as error:
    print(error)

# %% [markdown]
# The message says how many bytes were asked for, what was alive, who held most, and what would help.
# We follow its advice, fewer pictures and checkpointing, and add one of our own: 2-byte numbers.

# %%
many = f"{2 * cfg.batch} pictures"
attempts = {
    f"{cfg.batch} pictures": make_step(lite0, batch, answers, adam),
    f"{many}, bfloat16": make_step(lite0, images, labels, adam, in_bfloat16),
    f"{many}, checkpointing": make_step(lite0, images, labels, adam, checkpointed),
}
for name, attempt in attempts.items():
    try:
        with measure.virtual_device(memory=cfg.budget) as phone:
            first_step()
            attempt()
        print(f"{name:28} fits, peak {format_bytes(phone.peak)}")
    except measure.OutOfBudget as error:
        print(f"{name:28} does not fit: needs {format_bytes(error.needed)}")

# %% [markdown] part=12
# Each of them fits, for a reason of its own. Plain gradient descent (SGD) would help as well:
# it needs no state at all. But it needs more steps than Adam, and more care.
# One thing to know about checkpointing: batch norm sees each batch twice.
# Its running averages then move twice per step.
#
# ## Paper says, we measured
#
# MobileTL (lab 10) shows the stored bytes of three blocks: 96 channels, kernel 5, no expansion.
# (MB here means 10**6 bytes.) We know these numbers, but not for which resolution and batch size.
# So we rebuild the blocks and look for settings that give the table's first number.


# %%
def paper_block(kind):
    """Return one of the three blocks of the table, 96 -> 96 channels, kernel 5."""
    if kind == "plain conv":
        return nn.Sequential(nn.Conv2d(96, 96, 5, padding=2, bias=False), nn.BatchNorm2d(96), nn.ReLU6())
    options = dict(dw_kernel_size=5, exp_ratio=1.0, act_layer=nn.ReLU6)
    if kind == "MobileNetV3":
        gate = functools.partial(SqueezeExcite, rd_ratio=0.25, gate_layer="hard_sigmoid", force_act_layer=nn.ReLU)
        options |= dict(act_layer=nn.Hardswish, se_layer=gate)
    return InvertedResidual(96, 96, **options)


def paper_bytes(report):
    """Re-count a report as the paper does: ReLU6 as one bit, no per-channel numbers of batch norm."""
    total = 0
    for tensor in report.tensors:
        if tensor.kind == "ReLU6":
            total += math.ceil(math.prod(tensor.shape) / 8)
        elif not (tensor.kind.startswith("BatchNorm") and len(tensor.shape) == 1):
            total += tensor.nbytes
    return total


def block_report(kind, batch, pixels):
    x, block = torch.randn(batch, 96, pixels, pixels), paper_block(kind)
    return measure.saved_activations(lambda: block(x))


paper_plain = read_claims()["memory.block_conv"].paper  # MB
for pixels in (7, 14, 28):
    for size in (1, 2, 4, 8):
        here = paper_bytes(block_report("plain conv", size, pixels)) / 1e6
        if abs(here - paper_plain) < 0.001:
            print(f"{pixels} x {pixels} pixels, batch {size}: {here:.3f} MB")

# %% [markdown]
# Only the product of pixels and batch can be seen in a sum of maps, so two settings fit.
# The paper trains with batches of 8, which leaves one. The fit needs a special account, though:
# it charges one *bit* per number of ReLU6, where PyTorch keeps 4 bytes.

# %%
for kind, id in (("plain conv", "block_conv"), ("MobileNetV2", "block_v2"), ("MobileNetV3", "block_v3")):
    report = block_report(kind, batch=8, pixels=7)
    lab.claim(
        f"memory.{id}",
        measured=round(paper_bytes(report) / 1e6, 4),
        tolerance=0.005,
        note=f"7 × 7, batch 8, ReLU6 as 1 bit; PyTorch itself keeps {report.total / 1e6:.3f} MB",
    )

# %% [markdown] part=13
# All three numbers return, under the paper's account. The note tells what PyTorch really keeps: more.
# The paper counts an ideal program. Both counts are honest; a comparison must name its own.
# The V3 block has no ReLU6 and is close to the paper either way.
#
# ## At full scale
#
# The ledger on paper needs no large machine. It tells what a step would cost before we rent one.

# %%
measure.table(
    [
        {"batch": size, "pixels": pixels, "plain float32": format_bytes(sum(estimate(size, pixels, False, "float32").values())),
         "checkpointing, bfloat16": format_bytes(sum(estimate(size, pixels, True, "bfloat16").values()))}
        for size, pixels in ((8, 96), (32, 224), (256, 224), (1024, 224))
    ]
)

# %% [markdown] part=14
# The last rows are batch sizes for training from scratch. The network is still the same small file.
#
# - Run this lab at full scale with `COURSE_SCALE=full` on a machine with a GPU.
# - There, PyTorch's own account is `torch.cuda.max_memory_allocated()`. It is a bit higher:
#   it rounds sizes up and includes workspaces inside an operation.
# - Some rows of the sandwich differ. Dropout's mask takes 1 byte per number on a GPU.
#   The meter is the same; measure again rather than remember.
# - When even one picture does not fit, the labs with 1x numbers show what to do.
#
# ## Quiz
#
# Replace each `None` by a letter in quotes, such as `"a"`. Below the quiz waits one reflection:
# think of a network that you use. Which part would fill its memory in training, and why?

# %% tags=["learner"]
lab.quiz("01.q1", answer=None)
lab.quiz("01.q2", answer=None)
lab.quiz("01.q3", answer=None)

# %% tags=["solution"]
lab.quiz("01.q1", answer="c")
lab.quiz("01.q2", answer="b")
lab.quiz("01.q3", answer="a")

# %%
lab.reflect("01.reflection", text="")

# %%
ratio = saved["Lite0"].total / sum(p.nbytes for p in lite0.parameters())
lab.scoreboard(
    headline=f"a training step keeps {ratio:.1f} times as many bytes as the network has",
    peak_MiB=round(peaks["Lite0"].total / MiB, 1),
    kept_MiB=round(kept_by["plain"] / MiB, 1),
    checkpointed_MiB=round(kept_by["checkpointing"] / MiB, 1),
)

# %% [markdown]
# ## Summary
#
# - Memory of training: parameters, gradients, optimizer state, saved activations, temporaries.
#   The peak decides, and it comes when the forward pass ends.
# - A layer keeps what its derivative reads. A tensor that two layers keep is stored once.
# - Frozen batch norm, a frozen convolution and `inplace` save nothing; a frozen linear layer and ReLU do.
# - Batch size and resolution scale the kept bytes. Checkpointing buys memory with time, bfloat16 halves it.
# - Always say which account a number uses.
#
# ## References
#
# - T. Chen et al., *Training Deep Nets with Sublinear Memory Cost*, 2016, [arXiv 1604.06174](https://arxiv.org/abs/1604.06174): checkpointing.
# - T. Dao et al., *FlashAttention*, 2022, [arXiv 2205.14135](https://arxiv.org/abs/2205.14135): fused attention.
# - H. Cai et al., *TinyTL*, 2020, [arXiv 2007.11622](https://arxiv.org/abs/2007.11622): activations, not weights, are the problem.
# - H.-Y. Chiang et al., *MobileTL*, 2023, [arXiv 2212.03246](https://arxiv.org/abs/2212.03246): the blocks of part 12, and lab 10.
# - PyTorch notes, [Autograd mechanics](https://docs.pytorch.org/docs/stable/notes/autograd.html): saved tensors.
