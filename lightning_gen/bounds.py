"""Numbers with bounds, to annotate what configs set with: values outside are refused before anything is made."""

from typing import Annotated

from annotated_types import Ge, Gt, Le

from lightning_gen.utilities.renames import renamed

PositiveInt = Annotated[int, Ge(1)]
NonNegativeInt = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
UnitInterval = Annotated[float, Ge(0), Le(1)]

__getattr__ = renamed(__name__)
