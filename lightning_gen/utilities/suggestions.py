"""Suggestions for misspelled names."""

from collections.abc import Iterable
from difflib import SequenceMatcher


def closest(word: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """The names in `known` most similar to `word`, best first: the best one, and others about as similar."""
    scores = {name: similarity(word, name) for name in known}
    best = max(scores.values(), default=0.0)
    if best < 0.6:
        return []
    near = sorted((-score, name) for name, score in scores.items() if score >= max(0.6, best - 0.05))
    return [name for _, name in near[:limit]]


def similarity(word: str, name: str) -> float:
    """From 0 to 1. A matcher of sequences finds little of a short word that has a wrong letter, or two exchanged."""
    if sorted(word) == sorted(name):
        return 1.0
    one_wrong = len(word) == len(name) > 1 and sum(map(str.__ne__, word, name)) == 1
    return max(SequenceMatcher(None, word, name).ratio(), 0.6 * one_wrong)


def did_you_mean(word: str, known: Iterable[str], template: str = "{}") -> str:
    """`"; did you mean a or b?"`, or an empty string if no name is similar."""
    names = [template.format(name) for name in closest(word, known)]
    return f"; did you mean {' or '.join(names)}?" if names else ""
