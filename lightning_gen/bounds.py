"""Bounded values, to annotate parameters with that configs set: others are refused before a run begins."""

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, MaxLen, MinLen

from lightning_gen.utilities.renames import renamed

PositiveInt = Annotated[int, Ge(1)]
NonNegativeInt = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
UnitInterval = Annotated[float, Ge(0), Le(1)]
ImageShape = Annotated[tuple[PositiveInt, ...], MinLen(3), MaxLen(4)]  # (C, H, W) or (T, C, H, W)
ModelSize = Literal["small", "base", "large"]

__getattr__ = renamed(__name__)
