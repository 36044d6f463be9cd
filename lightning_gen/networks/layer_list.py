"""Lists of layers with a type."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

from torch import nn

Layer = TypeVar("Layer", bound=nn.Module)


class LayerList(nn.ModuleList, Generic[Layer]):
    """An `nn.ModuleList` whose items are known to be of one class."""

    if TYPE_CHECKING:

        def __init__(self, modules: Iterable[Layer]): ...

        def __iter__(self) -> Iterator[Layer]: ...

        def __getitem__(self, index: int) -> Layer: ...  # pyrefly: ignore[bad-override]  # no slices are taken
