"""Classes that are not ours, of plugins or a user's own: they are tried before a run relies on them."""

from typing import Any


def is_foreign(thing: Any) -> bool:
    """Whether an object's class is not of lightning-gen."""
    return not type(thing).__module__.startswith("lightning_gen.")
