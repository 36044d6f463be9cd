"""Lists of names, cut where they are long."""

from collections.abc import Sequence

MOST = 20


def listed(items: Sequence[str], separator: str = "\n" + " " * 13, most: int = MOST) -> str:
    """The first items, and how many more there are."""
    more = [f"... and {len(items) - most:,} more"] if len(items) > most else []
    return separator.join([*items[:most], *more])
