"""Signatures of `_target_`s: their parameters, with those of base classes, and the values that fit an annotation."""

import collections.abc
import dataclasses
import inspect
import math
import operator
import re
import types
import typing
from collections.abc import Callable
from enum import Enum
from typing import Any, Literal, Union

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen

from lightning_gen.bounds import AsTime, duration

_SEQUENCES = (list, tuple, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
BOUNDS = {
    Ge: ("of at least {}", operator.ge),
    Gt: ("above {}", operator.gt),
    Le: ("of at most {}", operator.le),
    Lt: ("below {}", operator.lt),
    AsTime: ("such as {}", lambda value, _: duration(value) is not None),
    MinLen: ("with at least {} values", lambda value, length: len(value) >= length),
    MaxLen: ("with at most {} values", lambda value, length: len(value) <= length),
}
_INT64 = range(-(2**63), 2**63)  # the integers that torch takes


@dataclasses.dataclass(frozen=True)
class Signature:
    """Annotations by parameter name; `open` if any other key is accepted too."""

    parameters: dict[str, Any]
    open: bool


def signature_of(target: Callable) -> Signature:
    """The keys that `target` accepts; `**kwargs` of a class stands for the parameters of its bases."""
    parameters: dict[str, Any] = {}
    functions = _constructors(target) if inspect.isclass(target) else [target]
    for function in functions:
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):  # builtins have none
            return Signature(parameters, open=True)
        hints = _hints(function)
        kinds = {parameter.kind for parameter in signature.parameters.values()}
        # An `__init__` taken from a class has `self` first, which is no key of a config.
        skip_self = inspect.isclass(target) and function is not target
        for name, parameter in list(signature.parameters.items())[skip_self:]:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                parameters.setdefault(name, _annotation(parameter, hints))
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            return Signature(parameters, open=False)
    return Signature(parameters, open=not _ends_in_module(target))


def _constructors(cls: type) -> list[Callable]:
    """The `__init__` functions in method resolution order."""
    functions = [base.__dict__["__init__"] for base in cls.__mro__[:-1] if "__init__" in base.__dict__]
    # torch.nn.Module takes any keyword, only to name the unexpected one. Builtin functions have no __module__.
    functions = [function for function in functions if getattr(function, "__module__", "") != "torch.nn.modules.module"]
    return functions or [cls]


def _ends_in_module(target: Any) -> bool:
    return inspect.isclass(target) and any(
        (base.__module__, base.__name__) == ("torch.nn.modules.module", "Module") for base in target.__mro__
    )


def _hints(function: Callable) -> dict[str, Any]:
    try:
        return typing.get_type_hints(inspect.unwrap(function), include_extras=True)
    except Exception:  # names that exist only for type checkers
        return {}


def _annotation(parameter: inspect.Parameter, hints: dict[str, Any]) -> Any:
    annotation = hints.get(parameter.name, parameter.annotation)
    if isinstance(annotation, str) or annotation is inspect.Parameter.empty:
        return Any
    return annotation | None if parameter.default is None and isinstance(annotation, type) else annotation


def fits(value: Any, annotation: Any) -> bool:
    """Whether a plain value (from YAML) fits `annotation`; any value fits an annotation that is not simple."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        return any(fits(value, argument) for argument in arguments)
    if origin is typing.Annotated:
        return fits(value, arguments[0]) and all(within(value, bound) for _, within, bound in _bounds(annotation))
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in arguments)
    if annotation in (None, type(None)):
        return value is None
    if annotation in (int, float, bool, str):
        return _is_scalar(value, annotation)
    if (origin or annotation) in _SEQUENCES:
        return isinstance(value, list | tuple) and _elements_fit(value, origin, arguments)
    if (origin or annotation) in _MAPPINGS:
        return isinstance(value, dict) and (len(arguments) != 2 or _members_fit(value, arguments[1]))
    if origin is collections.abc.Callable or _is_object(annotation):  # which YAML can't write, only describe
        return isinstance(value, dict) and "_target_" in value
    return True


def is_number(annotation: Any) -> bool:
    """Whether only numbers fit `annotation`, which no object with a `_target_` is."""
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    return annotation in (int, float, bool)


def _members_fit(members: dict, annotation: Any) -> bool:
    """Whether all values fit; an object of a group may also be left out with null."""
    return all(fits(member, annotation) or (member is None and _is_object(annotation)) for member in members.values())


def _is_object(annotation: Any) -> bool:
    """Whether `annotation` is a tensor, a module, a duration, or a class of ours."""
    if not inspect.isclass(annotation) or issubclass(annotation, Enum):
        return False
    names = {(base.__module__, base.__name__) for base in annotation.__mro__}
    modules = ("torch", "Tensor"), ("torch.nn.modules.module", "Module")
    return not names.isdisjoint(modules) or annotation.__module__.startswith(("lightning_gen.", "datetime"))


def _is_scalar(value: Any, annotation: type) -> bool:
    if type(value) is int and annotation in (int, float):
        return value in _INT64
    return type(value) is annotation and (annotation is not float or math.isfinite(value))


def _elements_fit(value: list | tuple, origin: Any, arguments: tuple) -> bool:
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    return not arguments or all(fits(element, arguments[0]) for element in value)


def _bounds(annotation: Any) -> list[tuple[str, Callable[[Any, Any], bool], Any]]:
    """The words, comparison and number of each bound of an `Annotated` number."""
    bounds = []
    for bound in annotation.__metadata__:
        if type(bound) in BOUNDS:
            words, within = BOUNDS[type(bound)]
            (number,) = dataclasses.astuple(bound)
            bounds.append((words, within, number))
    return bounds


def describe(annotation: Any) -> str:
    """`annotation` as a user reads it: `int or null`, `one of 'a', 'b'`, `list of int`, `int of at least 1`."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        bounds = " and ".join(words.format(bound) for words, _, bound in _bounds(annotation))
        return f"{describe(arguments[0])} {re.sub(' and (of|with) ', ' and ', bounds)}".rstrip()
    if origin in (Union, types.UnionType):
        # PyTorch's optimizers take a rate as a tensor, too, which no config can hold.
        typed = [argument for argument in arguments if getattr(argument, "__name__", "") != "Tensor"]
        return " or ".join(map(describe, typed))
    if origin is Literal:
        return "one of " + ", ".join(map(repr, arguments))
    if annotation in (None, type(None)):
        return "null"
    if origin in _SEQUENCES and arguments:
        inner = [describe(argument) for argument in arguments if argument is not Ellipsis]
        fixed = origin is tuple and Ellipsis not in arguments
        return f"[{', '.join(inner)}]" if fixed else f"list of {inner[0]}"
    if (origin or annotation) in _MAPPINGS:
        return "mapping of keys to values"
    return getattr(origin or annotation, "__name__", str(annotation))
