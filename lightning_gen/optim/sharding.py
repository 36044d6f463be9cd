"""Fully sharded data parallelism: each rank keeps a part of the weights, of gradients, averages and optimizer states.

By PyTorch's `fully_shard`: the weights of a block of a network are gathered for its forward and its backward pass, and
its gradients averaged and divided among the ranks (ZeRO, stage 3, https://arxiv.org/abs/1910.02054).
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_gen.utilities.compat import initialize_sharded, scale_each
from lightning_gen.utilities.ranks import sum_over_ranks

SMALLEST = 1 << 18  # values of a block: gathering fewer takes no less time


def shard(part: nn.Module, device: torch.device, keep: bool = False) -> None:
    """Divide the weights of a network among all ranks, which call this together with equal weights on the device.

    `keep`: its weights stay gathered from its forward pass until `reshard`, which second derivatives need.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    # `fully_shard` takes no weights of zero dimensions.
    scalars = {parameter for parameter in part.parameters() if parameter.ndim == 0}
    blocks = blocks_of(part)
    for block in blocks:
        block.frees = not keep and block is not part  # its whole weights after its forward pass
        fully_shard(block, mesh=mesh, reshard_after_forward=block.frees, ignored_params=scalars)
    for block, before in zip(blocks, [blocks[0], *blocks], strict=False):
        block.set_reshard_after_backward(not keep, recurse=False)
        # Without it PyTorch gathers by the order of forward passes, in which pictures of the first rank would count.
        block.set_modules_to_backward_prefetch([before])
    for block in outermost(blocks):
        initialize_sharded(block)


def blocks_of(part: nn.Module) -> list[Any]:
    """The modules of a network whose weights are gathered together, inner ones first; each is called as a function.

    A network names them in a method `blocks()`: weights outside of them stay whole. By default they are those of the
    networks in it, the larger members of its sequences and lists of modules, and the network itself.
    """
    if _names_blocks(part):
        return list(part.blocks())  # pyrefly: ignore[not-callable]
    members = [member for member in _members(part) if sum(p.numel() for p in member.parameters()) >= SMALLEST]
    return [*members, part]


def _names_blocks(module: nn.Module) -> bool:
    return callable(getattr(type(module), "blocks", None))


def _members(module: nn.Module) -> Iterator[nn.Module]:
    """The members of its outermost sequences and lists of modules, but for lists, which are not called."""
    for child in module.children():
        if _names_blocks(child):
            yield from child.blocks()  # pyrefly: ignore[not-callable]
        elif not isinstance(child, nn.Sequential | nn.ModuleList):
            yield from _members(child)
        else:
            for member in child:
                if isinstance(member, nn.ModuleList | nn.ModuleDict):
                    yield from _members(member)
                else:
                    yield member


def group_sizes(part: nn.Module) -> list[int]:
    """The numbers of values that are gathered together, of each of its blocks."""
    taken: set[nn.Parameter] = set()
    sizes = []
    for block in blocks_of(part):
        own = set(block.parameters()) - taken
        taken |= own
        sizes.append(sum(parameter.numel() for parameter in own))
    return sizes


def outermost(modules: Sequence[nn.Module]) -> list[nn.Module]:
    """Those that are in no other one of them."""
    inner = {id(child) for module in modules for child in module.modules() if child is not module}
    return [module for module in modules if id(module) not in inner]


def sharded_modules(module: nn.Module) -> list[Any]:
    """The sharded modules in it."""
    from torch.distributed.fsdp import FSDPModule

    return [each for each in module.modules() if isinstance(each, FSDPModule)]


@contextmanager
def gathered(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Within it these sharded modules have whole weights on each rank, which may call them or not, without gradients.

    All ranks enter and leave it together.
    """
    divided: list[Any] = [module for module in modules if any(map(is_sharded, module.parameters()))]
    for module in divided:
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()
    try:
        yield
    finally:
        for module in divided:
            module.reshard()
            module.set_reshard_after_forward(module.frees, recurse=False)


def is_sharded(tensor: Tensor) -> bool:
    """Whether this rank has a part of it only."""
    return hasattr(tensor, "full_tensor")  # a DTensor, whose class takes long to import


def local(tensor: Tensor) -> Tensor:
    """This rank's part of a sharded tensor, in its memory; other tensors as they are."""
    return tensor.to_local() if is_sharded(tensor) else tensor  # pyrefly: ignore[missing-attribute]


def whole(tensor: Tensor) -> Tensor:
    """A sharded tensor as a whole, which all ranks ask for together; other tensors as they are."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor  # pyrefly: ignore[missing-attribute]


def sharded_like(parameter: Tensor, value: Any) -> Any:
    """This rank's part of a whole `value` of the shape of a sharded parameter; anything else as it is."""
    if not is_sharded(parameter) or not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    device = local(parameter).device
    mesh, placements = parameter.device_mesh, parameter.placements  # pyrefly: ignore[missing-attribute]
    return distribute_tensor(value.to(device), mesh, placements, src_data_rank=None)


def whole_state(optimizer: Optimizer) -> dict[str, Any]:
    """The state of an optimizer as that of one process, on the CPU of the first rank; all ranks ask for it together."""
    content, first = optimizer.state_dict(), torch.distributed.get_rank() == 0
    state = {}
    for number, values in sorted(content["state"].items()):
        gathered = ((name, whole(value) if isinstance(value, Tensor) else value) for name, value in values.items())
        state[number] = {n: v.cpu() if isinstance(v, Tensor) else v for n, v in gathered if first}
    return content | {"state": state}


def load_whole_state(optimizer: Optimizer, content: dict[str, Any]) -> None:
    """Load what `whole_state` gave, or an optimizer of one process."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state = {
        number: {name: sharded_like(parameters[number], value) for name, value in values.items()}
        for number, values in content["state"].items()
    }
    optimizer.load_state_dict(content | {"state": state})


@contextmanager
def groups_apart(optimizer: Optimizer) -> Iterator[None]:
    """Within it sharded and whole weights are in parameter groups of their own: no kernel takes both together."""
    whole_groups = optimizer.param_groups
    optimizer.param_groups = [
        {**group, "params": chosen}
        for group in whole_groups
        for kind in (True, False)
        if (chosen := [p for p in group["params"] if is_sharded(p) == kind])
    ]
    try:
        yield
    finally:
        optimizer.param_groups = whole_groups


def clip_gradients(parameters: Iterable[nn.Parameter], bound: float) -> None:
    """Bound the norm of the gradients of sharded and whole weights together."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    parts = [local(gradient) for gradient in gradients if is_sharded(gradient)]
    others = [gradient for gradient in gradients if not is_sharded(gradient)]
    squared = sum_over_ranks(nn.utils.get_total_norm(parts).square()) + nn.utils.get_total_norm(others).square()
    factor = (bound / (squared.sqrt() + 1e-6)).clamp(max=1.0)
    scale_each([*parts, *others], factor)
