"""The one buffer inside a kernel that we can count: a second gradient of a convolution's weight.

On a CPU, PyTorch's convolution runs in oneDNN. Its backward makes the gradient of the weight in
oneDNN's own order of elements, then copies it into the plain order. For networks with small maps
and large weights that copy decides the peak; the allocator's events show it. The scratch memory
that oneDNN takes besides depends on the processor and is not counted: a convolution with a large
kernel, such as the patch embedding of a ViT, can take a few MiB of it for a moment.
"""

from typing import Any

import torch
from torch import Tensor


def kernel_workspace(func: Any, args: tuple, out: Any) -> int:
    """Return the bytes that `func` holds at its end besides its inputs and results."""
    if func is not torch.ops.aten.convolution_backward.default:
        return 0
    grad_weight = out[1]
    if not isinstance(grad_weight, Tensor) or grad_weight.device.type != "cpu":
        return 0
    _, x, weight, _, *geometry, _ = args
    backend = torch._C._select_conv_backend(x, weight, None, *geometry)
    return grad_weight.nbytes if backend.name == "Mkldnn" else 0
