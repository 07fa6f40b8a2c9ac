# ---
# jupyter:
#   lab:
#     minutes: 15
#     seconds: 60
#     memory: 2 GiB
#     level: beginner
# ---

# %% [markdown] part=1
# # Start here: how a lab works
#
# After this lab you can:
# - work through any lab of this course: predict, measure, implement, check, compare;
# - say where the memory of one training step goes, and count it byte by byte;
# - find the labs, check your machine, and get help when something fails.
#
# Run the cells from top to bottom. Click into a cell and press **Shift+Enter** to run it.

# %%
import copy
from pathlib import Path

import torch
import torch.nn.functional as F
from IPython.display import Markdown
from timm.data import ImageNetInfo

from course_lib import assets, lab, measure, plotting
from course_lib.lab.checks import lab00 as check
from course_lib.measure import MiB, format_bytes


lab.start("00_start_here", minutes=1, memory=2048 * MiB)

# %% [markdown]
# Every lab begins with these two cells. The first does something on Google Colab only.
# The second sets the random seeds, and names your packages and your machine.
# Its last line is the lab's *budget*: more time and memory than it should take.
#
# *Scale* is one of two words. `laptop` means small data and short runs; nothing needs a GPU.
# `full` means the data of the papers and needs a GPU. You choose it before Jupyter starts:
# the environment variable `COURSE_SCALE=full` does it. This lab is the same at both scales.

# %% [markdown] part=2
# ## The question
#
# A phone holds a network that was trained on photographs. Now it shall learn drawings.
# Other programs leave us 96 MiB of its memory. One MiB is $2^{20}$ = 1,048,576 bytes.
# The network itself fits easily. **Does one step of training fit as well?**
#
# ## Look: a real network meets real pictures
#
# The network is *EfficientNet-Lite0*, made for phones. It was trained on *ImageNet*:
# more than a million photographs, sorted into 1,000 classes. The pictures are emoji from OpenMoji.
# `assets.load` and `assets.model` bring both, verified, and keep them for offline use.
# We show six pictures and ask the network what it sees. Do you expect it to know the dog?

# %%
groups = ["Animals & Nature", "Objects"]
pictures = assets.load("openmoji", size=224, split="all", groups=groups)
names = ["dog", "zebra face", "polar bear", "safety pin", "abacus", "hammer"]
six = pictures.subset([pictures.captions.index(name) for name in names])
photo_net = assets.model("efficientnet_lite0")
with torch.inference_mode():
    shares = photo_net(assets.to_input(six.images)).softmax(dim=1)
best = shares.max(dim=1)
words = [ImageNetInfo().index_to_description(i).split(",")[0] for i in best.indices.tolist()]

# %%
answers = "; ".join(f"{name}: {word}" for name, word in zip(names, words, strict=True))
alt = f"Six emoji, each with the network's answer. {answers}."
with plotting.figure(alt=alt, width=9, height=2.2, cols=6) as (fig, axes):
    for axis, picture, name, word, share in zip(axes, six.images, names, words, best.values, strict=True):
        axis.imshow(picture.permute(1, 2, 0))
        axis.set_title(name)
        axis.set_xlabel(f"“{word}”\n{share:.0%} sure")
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
        axis.spines[:].set_visible(False)

# %% [markdown]
# Above each picture stands its name. Below it stands the network's best guess among 1,000 classes.
# The tools keep their outline in a drawing, and the network finds them. It does not find the animals.
# Such networks look at texture more than at shape, as Geirhos et al. showed. A drawing has no fur.
# (We chose these six. Replace a name by another one from `pictures.captions` and look again.)
#
# So the network must learn more, and best on the phone itself. That is *transfer learning*:
# a trained network goes on learning with new pictures.

# %% [markdown] part=4
# ## Predict
#
# The new task has two classes: animals and objects. We take 8 pictures at 96 × 96 pixels.
# Such a group is called a *batch*; one *training step* uses one batch.

# %%
net = assets.model("efficientnet_lite0", num_classes=2)
small = assets.load("openmoji", size=96, split="train", groups=groups)
chosen = torch.randperm(len(small))[:8]
images, labels = assets.to_input(small.images[chosen]), small.labels[chosen]
parameter_bytes = sum(p.nbytes for p in net.parameters())
print(f"parameters of the network: {format_bytes(parameter_bytes)}")
print(f"one batch of pictures:     {format_bytes(images.nbytes)}")

# %% [markdown]
# *Parameters* are the numbers that training changes. Both lines above are small for a phone.
#
# A training step has two halves. The *forward pass* computes the answer and the *loss*,
# a number for how wrong it is. The *backward pass* computes how to change each parameter.
# For that it needs many results of the forward pass. PyTorch keeps them: the *saved activations*.
#
# **How many MiB of activations does one step keep?**
# Replace `None` by your guess and run the cell. A wrong guess costs nothing and teaches most.
# The lab keeps it and comes back to it. Without a guess, everything still runs.

# %%
lab.predict(
    "00.saved_mib",
    question="MiB kept for the backward pass: batch of 8, 96 × 96 pixels",
    guess=None,
    unit="MiB",
)

# %% [markdown] part=5
# ## Measure
#
# `course_lib.measure` holds the scales of this course. `saved_activations` runs a forward pass
# and lists every tensor that PyTorch keeps. A *tensor* is an array of numbers.

# %%
def training_loss(network, images, labels):
    """Forward pass of one training step: the loss of `network` on one batch."""
    return F.cross_entropy(network(images), labels)


net.train()
report = measure.saved_activations(lambda: training_loss(net, images, labels))
report

# %% [markdown]
# The caption gives the sum; each row is one kind of layer. A *layer* is one step of the network.
# Three kinds share almost everything: convolutions (`Conv2d` and `Conv2dSame`),
# batch norm (`BatchNormAct2d`), and the activation function `ReLU6`.
# Lab 01 explains why each of them keeps what it keeps.

# %% [markdown] part=6
# ## The idea: count bytes
#
# Nothing about this number is a mystery. Here are five of the tensors that add up to it.

# %%
report.table().iloc[[0, 1, 2, 4, 5]]

# %% [markdown]
# Each row is one tensor. Its *shape* says how many numbers it has along each axis:
# pictures × channels × height × width. A *channel* is one map of numbers, such as red.
# Its *dtype* (data type) says how each number is stored.
#
# $$\text{bytes} = \underbrace{n_1 \cdot n_2 \cdots n_d}_{\text{how many numbers}} \times
# \underbrace{\text{bytes of one number}}_{\text{from the dtype}} \tag{1}$$
#
# A `float32` number takes 4 bytes, a `float16` number 2, a `uint8` number 1.

# %% [markdown] part=7
# ## Implement
#
# Now you write equation (1). Every exercise has the same form:
#
# 1. A cell with a hole, `...  # your code here`. Replace the three dots; keep the indentation.
# 2. A cell with a *check*. It tries your function on fresh cases and names the first problem.
# 3. A cell with *hints*. They go from a nudge to nearly the answer.
#
# Run the check at any time, also with the hole still open. It then says "not attempted yet".
#
# **Exercise 1 · difficulty 1 of 5 · 3 minutes.** The memory of one tensor.

# %%
def tensor_bytes(shape, dtype):
    """Return how many bytes a tensor of this shape and dtype takes.

    TODO: compute equation (1).
    APPROACH: multiply the sizes in `shape`; then multiply by `dtype.itemsize`,
        the bytes of one number.
    EXAMPLE: tensor_bytes((2, 3), torch.float32) is 24: 6 numbers of 4 bytes each.
    """
    ### BEGIN SOLUTION
    count = 1
    for size in shape:
        count = count * size
    return count * dtype.itemsize
    ### END SOLUTION


# %%
check.tensor_bytes(tensor_bytes)

# %% [markdown]
# Stuck? Run the next cell. Change the 1 to 2 or 3 for stronger hints. Hints cost no points.
# Still stuck? The folder `notebooks/solutions` holds each lab with all answers.
# Read it without shame; then close it and write the answer yourself.

# %%
lab.hint("00.tensor_bytes", 1)

# %% [markdown] part=8
# ## Compare with the meter
#
# Two methods must agree before this course believes a number.
# Here your function adds up the shapes; the meter asked PyTorch for the memory itself.
# Once exercise 1 is done, both are equal to the last byte.
#
# A lab never depends on your answer: with the hole open, the next cell says so and the lab goes on.

# %%
counted = [tensor_bytes(tensor.shape, tensor.dtype) for tensor in report.tensors]
if None in counted:
    print(f"meter: {report.total:,} bytes; yours: exercise 1 is still open")
else:
    print(f"meter: {report.total:,} bytes; yours: {sum(counted):,} bytes")

# %% [markdown] part=9
# ## Compare with the prediction

# %%
lab.recall("00.saved_mib", measured=report.total / MiB)

# %%
kinds = report.by_kind()
saved = {
    "convolution": kinds["Conv2d"] + kinds["Conv2dSame"],
    "batch norm": kinds["BatchNormAct2d"],
    "ReLU6": kinds["ReLU6"],
}
saved["other"] = report.total - sum(saved.values())
ratio = report.total / parameter_bytes
measure.stacked_bar(
    {"parameters": {"parameters": parameter_bytes}, "saved activations": saved},
    title=f"One training step keeps {ratio:.1f} × its parameters",
    alt=f"Two bars: parameters {format_bytes(parameter_bytes)}, "
    f"saved activations {format_bytes(report.total)}, {ratio:.1f} times as long.",
)

# %% [markdown]
# The short bar is the network, as you would download it. The long bar exists only while it learns:
# to use a network, nothing is kept. The labs with 1x numbers make this long bar shorter.

# %% [markdown] part=10
# ## The trade-off: batch size and resolution
#
# The long bar alone is more than 96 MiB. Would a smaller batch fit, or smaller pictures?
# We could run many steps and wait. There is a cheaper way, a *dry run*:
# on PyTorch's `meta` device, tensors have a shape and a dtype but no numbers.

# %%
ghost = copy.deepcopy(net).to("meta")


def kept_in_dry_run(batch, pixels):
    """Return the bytes that one step would keep, without computing anything."""
    images = torch.empty(batch, 3, pixels, pixels, device="meta")
    labels = torch.empty(batch, dtype=torch.int64, device="meta")
    return measure.saved_activations(lambda: training_loss(ghost, images, labels)).total


print(f"real run: {report.total:,} bytes")
print(f"dry run:  {kept_in_dry_run(8, 96):,} bytes")

# %% [markdown]
# The two lines agree to the byte, so we may trust the dry run. Two dry runs give a straight line:
#
# $$\text{kept}(b) = \text{fixed} + b \cdot \text{per picture} \tag{2}$$
#
# Here $b$ is the batch size. The fixed part is small: batch norm keeps a few numbers per channel.

# %%
lines = {}
for pixels in (64, 96, 128, 224):
    one, two = kept_in_dry_run(1, pixels), kept_in_dry_run(2, pixels)
    lines[pixels] = (one - (two - one), two - one)  # fixed, per picture
measure.table(
    [
        {"pixels": f"{p} × {p}", "fixed": format_bytes(a), "per picture": format_bytes(b)}
        for p, (a, b) in lines.items()
    ]
)

# %%
fixed, per_picture = lines[96]
print(f"equation (2) at batch 8: {fixed + 8 * per_picture:,} bytes")
print(f"measured at batch 8:     {report.total:,} bytes")
print(f"from 64 to 128 pixels:   {lines[128][1] / lines[64][1]:.2f} times as much per picture")

# %% [markdown]
# The first two lines are equal: the straight line holds. The third line shows the price of detail.
# Twice as wide and twice as high means about four times as many numbers.
#
# **Exercise 2 · difficulty 2 of 5 · 4 minutes.** Turn equation (2) around: which batch still fits?
# The function takes all three numbers in bytes.

# %%
def largest_batch(budget, fixed, per_picture):
    """Return the largest batch size whose kept bytes fit into the budget.

    TODO: find the largest whole b with fixed + b * per_picture <= budget.
    APPROACH: see how much of the budget is left after the fixed part;
        count how many whole pictures fit in there; never answer less than 0.
    EXAMPLE: largest_batch(100, 10, 30) is 3: 10 + 3 * 30 is exactly 100.
    """
    ### BEGIN SOLUTION
    room = budget - fixed
    return max(0, room // per_picture)
    ### END SOLUTION


# %%
check.largest_batch(largest_batch)

# %%
lab.hint("00.largest_batch", 1)

# %%
budget = 96 * MiB
always = parameter_bytes + fixed  # the parameters need room, too
batch = largest_batch(budget, always, per_picture)
if not isinstance(batch, int) or batch < 0:
    print("Exercise 2 is still open.")
else:
    for b in (batch, batch + 1):
        needed = parameter_bytes + kept_in_dry_run(b, 96)
        print(f"batch {b}: {format_bytes(needed)}, {'fits' if needed <= budget else 'does not fit'}")

# %% [markdown]
# With exercise 2 done, two dry runs test your answer: it fits, and one picture more does not.
#
# Now ask the same question for other pictures and phones. One function computes, another draws.
# `lab.explore` joins them with controls: choose a resolution, move the budget.
# Where nothing can move, such as on paper, you see the starting position and a table.

# %%
def compute(pixels, budget):
    """Return parameters + kept bytes for six batch sizes, held against a budget, in MiB."""
    fixed, per_picture = lines[pixels]
    batches = [1, 2, 4, 8, 16, 32]
    needed = [(parameter_bytes + fixed + b * per_picture) / MiB for b in batches]
    return {
        "batch": batches,
        "needed [MiB]": needed,
        "fits": ["yes" if n <= budget else "no" for n in needed],
        "budget [MiB]": [budget] * len(batches),
        "pixels": [pixels] * len(batches),
    }


# %%
def draw(data):
    """Draw one bar per batch size, and the budget as a dashed line."""
    budget, pixels, needed = data["budget [MiB]"][0], data["pixels"][0], data["needed [MiB]"]
    fitting = [str(b) for b, fits in zip(data["batch"], data["fits"], strict=True) if fits == "yes"]
    room = f"room for batch {', '.join(fitting)}" if fitting else "room for no batch"
    title = f"{pixels} × {pixels} pixels in {budget} MiB: {room}"
    alt = f"Bars: memory of a step for six batch sizes, and a line at the budget. {title}."
    with plotting.figure(alt=alt) as (fig, axis):
        bars = axis.bar([str(b) for b in data["batch"]], needed, edgecolor="black")
        for bar, fits in zip(bars, data["fits"], strict=True):
            bar.set_facecolor(plotting.PALETTE[0] if fits == "yes" else "white")
            bar.set_hatch("" if fits == "yes" else "//")
        axis.axhline(budget, color="black", linestyle="--", zorder=0.5)
        axis.bar_label(bars, fmt="%.0f", padding=2, bbox={"fc": "white", "ec": "none", "pad": 0.5})
        axis.set(xlabel="batch size", ylabel="parameters + kept [MiB]", title=title)
        axis.set_ylim(0, 1.15 * max(*needed, budget))
    return fig


lab.explore(compute, draw, pixels=[96, 64, 128, 224], budget=(32, 512, 32, 96))

# %% [markdown]
# Each bar is a batch size; the dashed line is the budget. Hatched bars do not fit.
# With a smaller batch or smaller pictures the step fits, but each step then learns from less.
# The labs of this course look for a third way: the same batch, the same pictures, fewer bytes.

# %% [markdown] part=11
# ## Break it: a pretended phone
#
# You need no phone to run out of memory. Inside `measure.virtual_device`, tensors have a budget.
# Here a whole training step runs in 96 MiB, backward pass included.

# %%
for batch in (8, 5):
    try:
        with measure.virtual_device(memory=96 * MiB) as phone:
            training_loss(net, images[:batch], labels[:batch]).backward()
        print(f"batch {batch}: fits, at most {format_bytes(phone.peak)} in use")
    except measure.OutOfBudget as error:
        print(f"batch {batch}: {error}\n")

# %% [markdown]
# The batch of 8 fails. The message names what was alive, the largest pieces, and a way out.
# The batch of 5 fits, as equation (2) says. The number in use is a little above the equation:
# the backward pass also makes *gradients*, one number per parameter, and short-lived results.
# Lab 01 accounts for all of them. Later labs use this phone to show "it did not fit; now it does".

# %% [markdown] part=14
# ## Quiz
#
# Each lab ends with a short quiz. Replace `None` by a letter in quotes, such as `"a"`, and run the cell.
# Then comes a *reflection*, a sentence or two for yourself. Nobody grades it.
# Here it is: **Which number of this lab surprised you most, and why?** Write between the quotes.

# %% tags=["learner"]
lab.quiz("00.q1", answer=None)

# %% tags=["solution"]
lab.quiz("00.q1", answer="c")

# %% tags=["learner"]
lab.quiz("00.q2", answer=None)

# %% tags=["solution"]
lab.quiz("00.q2", answer="b")

# %% tags=["learner"]
lab.quiz("00.q3", answer=None)

# %% tags=["solution"]
lab.quiz("00.q3", answer="a")

# %%
lab.reflect("00.reflection", text="")

# %% [markdown]
# ## Your scoreboard
#
# Passed checks bring points. Points, predictions and quiz answers lie in one small file:
# `progress.json`, in the top folder of the course. Points never fall when you run a lab again.
# `lab.progress.export` and `lab.progress.merge` carry the file to another machine.

# %%
lab.scoreboard(
    headline=f"how a lab works; one step keeps {format_bytes(report.total)}",
    kept=format_bytes(report.total),
    parameters=format_bytes(parameter_bytes),
)

# %% [markdown]
# ## Your machine
#
# The *doctor* looks at packages, memory, cores, GPU, and the cache. It says what to do where something is wrong.
# When a cell fails, do three things, in this order:
#
# 1. Read the last line of the error. It names the mend.
# 2. Choose *Kernel → Restart Kernel and Run All Cells*. A *kernel* is the Python behind the notebook.
# 3. Run the doctor: the next cell, or `python -m course_lib doctor` in a terminal.

# %%
lab.doctor()

# %% [markdown]
# ## The map of the course
#
# The first digit of a lab names its part. The next cell looks into the folder of labs,
# so the map shows what exists in your copy. "None yet" means what it says.

# %%
parts = {
    "0": "start", "1": "training in little memory", "2": "few bits",
    "3": "architectures and their activations", "4": "forgetting", "5": "memory as a system",
    "6": "on the device", "7": "beyond vision and language", "9": "capstone",
}
sources = [*Path().glob("source/[0-9]*.py"), *Path().glob("../source/[0-9]*.py")]
links = {number: [] for number in parts}
for file in sorted(sources):
    text = file.read_text(encoding="utf-8")
    title = next(line[4:] for line in text.splitlines() if line.startswith("# # "))
    links[file.name[0]].append(f"[{file.name[:2]} · {title}]({file.stem}.ipynb)")
missing = "none yet" if sources else "not in this copy"
rows = [f"| {n}x | {parts[n]} | {'<br>'.join(links[n]) or missing} |" for n in parts]
Markdown("\n".join(["| part | about | labs |", "| :-- | :-- | :-- |", *rows]))

# %% [markdown]
# ## Summary
#
# - A lab runs in a circle: predict, measure, implement, check, compare.
# - A step of training keeps activations for its backward pass; they can dwarf the parameters.
# - Bytes are countable: product of the shape, times the bytes of one number.
# - Kept bytes grow in a straight line with the batch, and with the area of the pictures.
#
# **References.** M. Tan and Q. Le, [EfficientNet](https://arxiv.org/abs/1905.11946), 2019 ·
# O. Russakovsky et al., [ImageNet](https://arxiv.org/abs/1409.0575), 2015 ·
# R. Geirhos et al., [ImageNet-trained CNNs are biased towards texture](https://arxiv.org/abs/1811.12231), 2019.
