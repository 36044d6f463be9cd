"""Durations for people: `45 s`, `12 min`, `6 h 10 min`, `3 d 4 h`."""

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def duration(seconds: float) -> str:
    """In the largest unit of which there are two; hours and days with the next one."""
    seconds = round(seconds)
    size, unit = next((row for row in _UNITS if seconds >= 2 * row[0]), _UNITS[-1])
    if size < 3_600:
        return f"{round(seconds / size)} {unit}"
    smaller, smaller_unit = _UNITS[_UNITS.index((size, unit)) + 1]
    whole, rest = divmod(round(seconds / smaller), size // smaller)
    return f"{whole} {unit} {rest} {smaller_unit}" if rest else f"{whole} {unit}"
