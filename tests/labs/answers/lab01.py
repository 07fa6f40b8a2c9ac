"""Answers of lab 01: two right ones per exercise, and wrong ones that learners would write."""

from itertools import accumulate


def chain_by_maps(batch, channels_in, channels_out, height, width, stride):
    map_in = batch * channels_in * height * width
    map_out = batch * channels_out * (height // stride) * (width // stride)
    return 4 * (map_in + 2 * map_out) + 8 * channels_out


def chain_by_layers(batch, channels_in, channels_out, height, width, stride):
    out = 4 * batch * channels_out * height * width // stride**2
    convolution = 4 * batch * channels_in * height * width
    batch_norm = out + 2 * 4 * channels_out
    return convolution + batch_norm + out


def mlp_by_layers(batch, tokens, width, hidden, trained):
    first = 4 * batch * tokens * width if trained else 0
    gelu = 4 * batch * tokens * hidden
    second = 4 * batch * tokens * hidden if trained else 0
    return first + gelu + second


def mlp_short(batch, tokens, width, hidden, trained):
    return 4 * batch * tokens * (hidden + trained * (width + hidden))


def attention_by_cases(batch, heads, tokens, head_dim, is_fused):
    one = batch * heads * tokens * head_dim
    if is_fused:
        return 16 * one + 4 * batch * heads * tokens
    return 12 * one + 4 * batch * heads * tokens**2


def attention_per_row(batch, heads, tokens, head_dim, is_fused):
    per_row = 4 * head_dim + 1 if is_fused else 3 * head_dim + tokens
    return 4 * batch * heads * tokens * per_row


def checkpointed_by_sums(inputs, kept):
    return max(sum(inputs[:i]) + kept[i] for i in range(len(kept)))


def checkpointed_by_accumulate(inputs, kept):
    waiting = [0, *accumulate(inputs)]
    return max(w + k for w, k in zip(waiting, kept, strict=False))


RIGHT = {
    "01.conv_chain_bytes": [chain_by_maps, chain_by_layers],
    "01.mlp_bytes": [mlp_by_layers, mlp_short],
    "01.attention_bytes": [attention_by_cases, attention_per_row],
    "01.checkpointed_bytes": [checkpointed_by_sums, checkpointed_by_accumulate],
}

WRONG = {
    "01.conv_chain_bytes": [
        (
            lambda b, c, e, h, w, s: chain_by_maps(b, c, e, h, w, s) - 8 * e,
            "two numbers per channel: 8 bytes for each",
        ),
        (
            lambda b, c, e, h, w, s: chain_by_maps(b, c, e, h, w, s) // 4,
            "You count numbers",
        ),
        (
            lambda b, c, e, h, w, s: (
                4 * (b * c * h * w + b * e * (h // s) * (w // s)) + 8 * e
            ),  # believes that ReLU6 works in place for nothing
            "ReLU6 keeps its input as well",
        ),
        (
            lambda b, c, e, h, w, s: chain_by_maps(b, c, e, h, w, s) + 4 * 9 * c * e,
            "Leave the weights out",
        ),
        (
            lambda b, c, e, h, w, s: (
                chain_by_maps(b, c, e, h, w, s) + 4 * b * e * (h // s) * (w // s)
            ),
            "kept by the next layer",
        ),
        (
            lambda b, c, e, h, w, s: 4 * b * h * w * (c + 2 * e) + 8 * e,
            "see the map after the stride",
        ),
        (
            lambda b, c, e, h, w, s: 8 * b * e * (h // s) * (w // s) + 8 * e,
            "enters the convolution",
        ),
        (
            lambda b, c, e, h, w, s: chain_by_maps(b, c, c, h, w, s),
            "channels_out channels",
        ),
        (lambda b, c, e, h, w, s: 17, "List the kept tensors one by one"),
        (lambda b, c, e, h, w, s: "many", "return one whole number of bytes"),
    ],
    "01.mlp_bytes": [
        (
            lambda b, t, w, h, trained: 4 * b * t * (w + 2 * h),
            "A frozen linear layer keeps nothing",
        ),
        (
            lambda b, t, w, h, trained: 4 * b * t * (w + 2 * h) * trained,
            "GELU still keeps its input",
        ),
        (
            lambda b, t, w, h, trained: 4 * b * t * (w + h if trained else h),
            "the input of the second linear layer",
        ),
        (
            lambda b, t, w, h, trained: 4 * b * t * (2 * h + 2 * w if trained else h),
            "keeps its input, not its output",
        ),
        (
            lambda b, t, w, h, trained: mlp_short(b, t, w, h, trained) + 8 * w * h,
            "Leave the weights out",
        ),
        (
            lambda b, t, w, h, trained: mlp_short(b, t, w, h, trained) // 4,
            "You count numbers",
        ),
    ],
    "01.attention_bytes": [
        (
            lambda b, h, t, d, f: 16 * b * h * t * d if f else attention_by_cases(b, h, t, d, f),
            "one number per token and head from which",
        ),
        (
            lambda b, h, t, d, f: attention_by_cases(b, h, t, d, False),
            "never stores the matrix",
        ),
        (
            lambda b, h, t, d, f: (
                attention_per_row(b, h, t, d, f) + (0 if f else 4 * b * h * t * t)
            ),
            "count it once",
        ),
        (
            lambda b, h, t, d, f: 4 * b * h * t * (4 * d + 1 if f else 4 * d + t),
            "does not keep its output",
        ),
        (
            lambda b, h, t, d, f: 4 * b * h * t * (3 * d + 1 if f else 3 * d + t),
            "also keeps its output",
        ),
        (
            lambda b, h, t, d, f: 4 * b * h * t * (4 * d + 1 if f else 3 * d),
            "matrix P is missing",
        ),
        (
            lambda b, h, t, d, f: 4 * b * t * (4 * h * d + h if f else 3 * h * d + t),
            "Every head has its own",
        ),
    ],
    "01.checkpointed_bytes": [
        (lambda inputs, kept: sum(inputs), "end of the forward pass"),
        (lambda inputs, kept: sum(inputs) + max(kept), "holds the block's own input"),
        (lambda inputs, kept: max(kept), "still waiting; add them"),
        (lambda inputs, kept: sum(kept), "without any checkpointing"),
        (
            lambda inputs, kept: max(sum(inputs[: i + 1]) + kept[i] for i in range(len(kept))),
            "counted twice",
        ),
        (
            lambda inputs, kept: max(
                sum(inputs) - i + k for i, k in zip(inputs, kept, strict=True)
            ),
            "freed before this block goes backward",
        ),
        (
            lambda inputs, kept: sum(inputs[: kept.index(max(kept))]) + max(kept),
            "need not be the worst moment",
        ),
    ],
}
