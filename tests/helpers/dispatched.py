"""The kernels that a computation asks for, by name, its backward pass included."""

from collections.abc import Callable

from torch.utils._python_dispatch import TorchDispatchMode

# Those of images and maps that torch.use_deterministic_algorithms refuses on CUDA.
NOT_DETERMINISTIC = {
    *("nll_loss2d_forward", "_upsample_bilinear2d_aa_backward", "upsample_bilinear2d_backward"),
    *("grid_sampler_2d_backward", "reflection_pad2d_backward", "_adaptive_avg_pool2d_backward"),
}


class Recorder(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.__name__.partition(".")[0])
        return func(*args, **(kwargs or {}))


def dispatched(computation: Callable[[], object]) -> set[str]:
    with Recorder() as recorder:
        computation()
    return recorder.names
