"""The fused kernels of S2A against plain torch.

No GPU is needed: the kernels run in Triton's interpreter, and are compiled for a GPU. Each happens
in a process of its own, because Triton looks at TRITON_INTERPRET when it is imported.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

from course_lib import s2a
from course_lib.lean import unpack_codes
from course_lib.s2a import _triton
from course_lib.s2a._grids import levels
from course_lib.s2a._softmax import keep_probabilities


needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="triton is not installed: it exists for Linux alone, where torch brings it",
)
HALF, BF16 = torch.float16, torch.bfloat16
# name: function, bits, shape, further options. 3 rows do not come in pairs, 4 do.
CASES: dict[str, tuple[str, int, tuple[int, ...], dict[str, Any]]] = {
    "gelu": ("gelu", 4, (3, 1501), {}),
    "gelu, 2 bits": ("gelu", 2, (7, 33), {}),
    "gelu, 8 bits": ("gelu", 8, (7, 33), {}),
    "gelu, minmax": ("gelu", 4, (7, 33), {"grid": "minmax"}),
    "gelu, large": ("gelu", 4, (7, 33), {"scale": 1e4}),
    "gelu, one element": ("gelu", 4, (1,), {}),
    "gelu, empty": ("gelu", 4, (0, 3), {}),
    "gelu, not contiguous": ("gelu", 4, (5, 6, 7), {"transposed": True}),
    "gelu, half": ("gelu", 4, (7, 33), {"dtype": HALF}),
    "gelu, bfloat16": ("gelu", 4, (7, 33), {"dtype": BF16}),
    "gelu_tanh": ("gelu_tanh", 4, (3, 1501), {}),
    "gelu_tanh, minmax": ("gelu_tanh", 2, (7, 33), {"grid": "minmax"}),
    "gelu_tanh, large": ("gelu_tanh", 4, (7, 33), {"scale": 1e4}),
    "gelu_tanh, bfloat16": ("gelu_tanh", 8, (7, 33), {"dtype": BF16}),
    "softmax, pairs": ("softmax", 4, (2, 2, 19), {}),
    "softmax, no pairs": ("softmax", 4, (3, 3, 19), {}),
    "softmax, 2 bits": ("softmax", 2, (2, 3, 19), {}),
    "softmax, 8 bits": ("softmax", 8, (5, 19), {}),
    "softmax, one row": ("softmax", 4, (1, 7), {}),
    "softmax, one column": ("softmax", 4, (3, 1), {}),
    "softmax, not contiguous": ("softmax", 4, (3, 5, 7), {"transposed": True}),
    "softmax, large": ("softmax", 4, (4, 19), {"scale": 1e4}),
    "softmax, half": ("softmax", 4, (3, 19), {"dtype": HALF}),
    "softmax, bfloat16": ("softmax", 4, (4, 19), {"dtype": BF16}),
    "layer_norm, pairs": ("layer_norm", 4, (2, 2, 48), {}),
    "layer_norm, no pairs": ("layer_norm", 4, (3, 49), {}),
    "layer_norm, 2 bits": ("layer_norm", 2, (6, 49), {}),
    "layer_norm, 8 bits": ("layer_norm", 8, (3, 49), {}),
    "layer_norm, bare": ("layer_norm", 4, (3, 49), {"affine": False}),
    "layer_norm, constant row": ("layer_norm", 4, (3, 49), {"constant": True}),
    "layer_norm, not contiguous": ("layer_norm", 4, (3, 5, 7), {"transposed": True}),
    "layer_norm, large": ("layer_norm", 4, (4, 49), {"scale": 1e4}),
    "layer_norm, half": ("layer_norm", 4, (3, 49), {"dtype": HALF}),
    "layer_norm, bfloat16": ("layer_norm", 4, (4, 49), {"dtype": BF16}),
    "attention": ("attention", 4, (2, 3, 5, 4), {}),
}
CODED = [name for name in CASES if name != "attention"]


def inputs(name: str, device: str = "cpu") -> tuple[list[Tensor], Tensor]:
    """What goes into a case, and the gradient that comes back to it."""
    kind, _, shape, options = CASES[name]
    draw = torch.Generator().manual_seed(len(name))
    dtype = options.get("dtype", torch.float32)

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=draw).to(dtype).to(device)

    x = normal(*shape) * options.get("scale", 2.0)
    if options.get("constant"):
        x[1] = 3.0
    if options.get("transposed"):
        x = x.transpose(0, -1)
    others = []
    if kind == "layer_norm" and options.get("affine", True):
        others = [normal(x.shape[-1]), normal(x.shape[-1])]
    if kind == "attention":
        others = [normal(*shape), normal(*shape)]
    return [x, *others], normal(*x.shape)


def results(name: str, fused: bool, device: str = "cpu") -> dict[str, Any]:
    """Run a case forward and backward: output, what was kept, dL/dx, how often kernels ran."""
    kind, bits, _, options = CASES[name]
    (x, *others), grad = inputs(name, device)
    x.requires_grad_()
    answers = []
    decide = _triton.available

    def available(*arguments: Any) -> bool:
        answers.append(fused and decide(*arguments))
        return answers[-1]

    with mock.patch.object(_triton, "available", available):
        if kind == "softmax":
            y = s2a.coded_softmax(x, bits)
        elif kind == "layer_norm":
            y = s2a.coded_layer_norm(x, *(others or (None, None)), bits=bits)
        elif kind == "attention":
            y = s2a.coded_attention(x, *others, bits=bits)
        else:
            y = s2a.coded_activation(x, kind, bits, options.get("grid", "zero"))
        kept = [t for t in y.grad_fn.saved_tensors if t is not None]  # pyright: ignore
        y.backward(grad)
    packed = [t for t in kept if t.dtype == torch.uint8]
    return {
        "y": y.detach().cpu(),
        "packed": packed[0].cpu(),
        "kept": [t.detach().cpu() for t in kept if t.dtype != torch.uint8],
        "dx": x.grad.cpu(),  # pyright: ignore[reportOptionalMemberAccess]
        "fused": sum(answers),
    }


def unrounded(name: str) -> Tensor:
    """What is rounded to the codes, in float64."""
    kind, bits, _, options = CASES[name]
    (x, *_), _ = inputs(name)
    x, top = x.double(), (1 << bits) - 1
    if kind == "softmax":
        p = x.softmax(-1)
        return p / p.amax(-1, keepdim=True) * top
    if kind == "layer_norm":
        low, high = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
        return (x - low) / (high - low).clamp_min(1e-30) * top
    grid = levels(kind, bits, options.get("grid", "zero"))
    source = x.detach().requires_grad_()
    approximate = "tanh" if kind == "gelu_tanh" else "none"
    torch.nn.functional.gelu(source, approximate=approximate).sum().backward()
    assert source.grad is not None
    return (source.grad * grid.per_one + grid.zero).clamp(0, top)


def check_against_plain(name: str, got: dict[str, Any]) -> None:
    """Hold the result of kernels against plain torch."""
    kind, bits, _, options = CASES[name]
    want = results(name, fused=False)
    assert want["fused"] == 0
    assert got["fused"] == 2, "forward and backward run as kernels"
    dtype = options.get("dtype", torch.float32)
    # One unit in the last place of the output: the interpreter cuts off where a GPU rounds.
    close = {"rtol": max(4e-6, torch.finfo(dtype).eps), "atol": 2e-6}
    torch.testing.assert_close(got["y"], want["y"], **close)
    shape = got["y"].shape
    codes, plain = (unpack_codes(one["packed"], bits, shape).int() for one in (got, want))
    if kind == "softmax" and dtype != torch.float32:
        # P is coded as it was rounded: the codes are those of the kernel's own P.
        kept = keep_probabilities(got["y"], bits)
        assert torch.equal(got["packed"], kept[0])
        torch.testing.assert_close(got["kept"][0], kept[-1], rtol=1e-6, atol=0)
    else:
        different = codes != plain
        from_half = (unrounded(name).frac() - 0.5).abs()
        assert (from_half[different] <= 1e-4).all(), "a code differs far from a border"
        assert (codes - plain).abs().sum() <= 0.001 * codes.numel()
        for ours, theirs in zip(got["kept"], want["kept"], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=2e-6)
    same = (codes == plain).all(-1)  # a different code changes the gradients of its row
    assert same.sum() >= 0.5 * same.numel()
    scale = want["dx"].abs().max().item() if want["dx"].numel() else 1.0
    close = {"rtol": max(2e-5, 2 * torch.finfo(dtype).eps), "atol": 2e-6 * scale}
    if kind == "softmax" and dtype != torch.float32:
        close["atol"] = 2 * torch.finfo(dtype).eps * scale  # the units differ as P does
    torch.testing.assert_close(got["dx"][same], want["dx"][same], **close)


# What the functions promise, whoever computes them; without what takes the interpreter long.
PROMISES = [
    f"tests/lib/test_s2a_{name}"
    for name in (
        "functions.py::test_gelu_in_four_bits_is_the_sheet",
        "functions.py::test_worst_error_at_any_scale",
        "functions.py::test_zero_grid_is_exact_where_the_function_saturates",
        "functions.py::test_error_of_attention",
        "functions.py::test_constant_rows_give_finite_gradients",
        "kept.py::test_bytes_of_norm_softmax_and_attention",
        "kept.py::test_nothing_is_kept_without_need",
        "kept.py::test_half_precision_is_coded_in_float32",
        "kept.py::test_layout_of_the_input_does_not_matter",
        "kept.py::test_double_backward_is_refused",
    )
]


def in_own_process(what: str, file: Path, **environment: str) -> None:
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    # To compile, it starts as a machine without triton does, and runs plain torch there.
    code = "import runpy, sys; " + ("sys.modules['triton'] = None; " * (what == "compile"))
    code += f"runpy.run_path({__file__!r}, run_name='__main__')"
    run = [sys.executable, "-c", code, what, str(file)]
    made = subprocess.run(run, env=env | environment, capture_output=True, text=True, timeout=1200)
    assert made.returncode == 0, made.stderr[-3000:]


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("triton") / "results.pt"
    in_own_process("interpret", file, TRITON_INTERPRET="1")
    return torch.load(file, weights_only=True)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("triton")
    in_own_process("compile", folder / "kernels.json", TRITON_CACHE_DIR=str(folder / "cache"))
    return json.loads((folder / "kernels.json").read_text(encoding="utf-8"))


@needs_triton
@pytest.mark.parametrize("name", CODED)
def test_kernels_give_the_codes_of_plain_torch(name, interpreted):
    check_against_plain(name, interpreted[name])


@needs_triton
def test_the_kernels_keep_the_promises_of_the_functions():
    """Each named test has to exist. NumPy warns of an exponential that is meant to be infinite."""
    ignored = "ignore::RuntimeWarning:triton.runtime.interpreter"
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", ignored, *PROMISES]
    env = os.environ | {"TRITON_INTERPRET": "1"}
    root = Path(__file__).parents[2]
    made = subprocess.run(run, env=env, cwd=root, capture_output=True, text=True, timeout=1200)
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-3000:]
    assert " passed" in made.stdout and " skipped" not in made.stdout


@needs_triton
def test_hardly_a_code_differs(interpreted):
    pairs = [
        (unpack_codes(interpreted[name]["packed"], CASES[name][1], interpreted[name]["y"].shape),)
        + (unpack_codes(want["packed"], CASES[name][1], want["y"].shape),)
        for name in CODED
        if CASES[name][3].get("dtype") is None
        for want in [results(name, fused=False)]
    ]
    elements = sum(codes.numel() for codes, _ in pairs)
    different = sum(int((codes != plain).sum()) for codes, plain in pairs)
    print(f"{different} of {elements} codes differ")
    assert different <= 1e-3 * elements


@needs_triton
def test_saturated_units_get_exactly_0_and_1(interpreted):
    for name in ("gelu, large", "gelu_tanh, large"):
        (x, *_), grad = inputs(name)
        far = x.abs() > 10
        wanted = torch.where(x > 0, grad, torch.zeros_like(grad))
        assert torch.equal(interpreted[name]["dx"][far], wanted[far])


@needs_triton
def test_attention_uses_the_softmax_kernels(interpreted):
    got, want = interpreted["attention"], results("attention", fused=False)
    assert (got["fused"], want["fused"]) == (2, 0)
    assert torch.equal(got["packed"], want["packed"])
    torch.testing.assert_close(got["y"], want["y"])
    torch.testing.assert_close(got["dx"], want["dx"])


@needs_triton
def test_kernels_compile_for_a_gpu(compiled):
    """Down to machine code for compute capability 7.5, the smallest GPU that Colab lends."""
    assert set(compiled["kernels"]) == set(KERNELS)
    assert all(kernel["bytes"] > 0 for kernel in compiled["kernels"].values())


@needs_triton
def test_kernels_read_once_and_write_once(compiled):
    """With 4 bits a program has two stretches: each is loaded and stored once, the codes once."""
    accesses = {name: (k["loads"], k["stores"]) for name, k in compiled["kernels"].items()}
    assert accesses["gelu forward"] == accesses["gelu_tanh forward"] == (2, 3)
    assert accesses["derivative backward"] == (1 + 2, 2)
    assert accesses["softmax forward"] == (2, 3 + 2)  # the unit of each row
    assert accesses["softmax backward"] == (3, 1)  # gradient, codes, unit
    assert accesses["layer_norm forward"] == (2 * 3, 3 + 2 * 3)  # weight, bias; 1/sigma, low, step
    assert accesses["layer_norm backward"] == (6, 1)


@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no GPU: torch.cuda.is_available() is False"
)
@needs_triton
def test_on_a_gpu():
    for name in CODED:
        check_against_plain(name, results(name, fused=True, device="cuda"))


def test_without_triton_or_a_gpu_plain_torch_runs(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert not _triton.available(torch.randn(3, 4), 4)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(_triton, "has_triton", lambda: False)
    assert not _triton.available(torch.randn(3, 4), 4)


@pytest.mark.parametrize(
    ("x", "bits", "row", "answer"),
    [
        (torch.ones(3), 4, 1, True),
        (torch.ones(3, dtype=BF16), 8, 3, True),
        (torch.ones(3), 1, 1, False),
        (torch.ones(3), 32, 1, False),
        (torch.ones(3).double(), 4, 1, False),
        (torch.ones(3), 4, _triton.LONGEST_ROW + 1, False),
        (torch.ones(3, device="meta"), 4, 1, False),
    ],
)
def test_what_the_kernels_take(x, bits, row, answer, monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(_triton, "has_triton", lambda: True)
    assert _triton.available(x, bits, row) == answer
    with _triton.switched_off():
        assert not _triton.available(x, bits, row)


@needs_triton
def test_s2a_works_where_triton_cannot_be_imported(compiled):
    assert set(compiled["without triton"].values()) == {0}


# ---- what runs in a process of its own ---------------------------------------------------------

POINTERS = {"packed_ptr": "*u8"} | dict.fromkeys(
    ("unit_ptr", "rstd_ptr", "ranges_ptr", "weight_ptr", "bias_ptr"), "*fp32"
)
SCALARS = {"zero": "fp32", "per_one": "fp32", "eps": "fp32"}
AFFINE = {"WEIGHT": True, "BIAS": True, "PAIRED": True, "BLOCK": 256}
# name: module, kernel, constants beside BITS = 4, dtype of the tensors that are not kept
KERNELS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "gelu forward": ("gelu", "_forward", {"TANH": False, "BLOCK": 1024}, "fp32"),
    "gelu_tanh forward": ("gelu", "_forward", {"TANH": True, "BLOCK": 1024}, "bf16"),
    "derivative backward": ("gelu", "_backward", {"BLOCK": 1024}, "fp16"),
    "softmax forward": ("softmax", "_forward", {"PAIRED": True, "BLOCK": 256}, "fp32"),
    "softmax, no pairs": ("softmax", "_forward", {"PAIRED": False, "BLOCK": 256}, "bf16"),
    "softmax backward": ("softmax", "_backward", {"BLOCK": 256}, "fp32"),
    "softmax decode": ("softmax", "_decode", {"BLOCK": 256}, "fp32"),
    "layer_norm forward": ("layer_norm", "_forward", AFFINE, "fp32"),
    "layer_norm, no pairs": ("layer_norm", "_forward", AFFINE | {"PAIRED": False}, "fp16"),
    "layer_norm backward": ("layer_norm", "_backward", {"WEIGHT": True, "BLOCK": 256}, "fp32"),
}


def run_without_triton() -> dict[str, int]:
    """Run each function where triton cannot be imported, then let it in; counts of kernels."""
    names = ("gelu", "softmax, pairs", "layer_norm, pairs", "attention")
    counts = {name: results(name, fused=True)["fused"] for name in names}
    assert sys.modules.pop("triton") is None
    _triton.has_triton.cache_clear()
    return counts


def compile_kernel(name: str) -> dict[str, int]:
    """Compile down to machine code for a GPU that need not be there."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    module, function, constants, dtype = KERNELS[name]
    kernel = getattr(importlib.import_module(f"course_lib.s2a._triton_{module}"), function)
    constants = {"BITS": 4, **constants}
    types = {
        argument: "constexpr"
        if argument in constants
        else POINTERS.get(argument, f"*{dtype}")
        if argument.endswith("_ptr")
        else SCALARS.get(argument, "i32")
        for argument in kernel.arg_names
    }
    source = ASTSource(fn=kernel, signature=types, constexprs=constants)
    made = triton.compile(source, target=GPUTarget("cuda", 75, 32))
    code = made.asm["ttir"]
    return {
        "bytes": len(made.asm["cubin"]),
        "loads": code.count("tt.load"),
        "stores": code.count("tt.store"),
    }


def main(what: str, file: str) -> None:
    if what == "interpret":
        torch.save({name: results(name, fused=True) for name in CASES}, file)
    else:
        made = {
            "without triton": run_without_triton(),
            "kernels": {name: compile_kernel(name) for name in KERNELS},
        }
        Path(file).write_text(json.dumps(made), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
