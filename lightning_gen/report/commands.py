"""What can be done with a run next, as command lines: for its report, and for the end of a training."""

import shlex
from collections.abc import Collection
from pathlib import Path

# What is done with a model that draws such pictures.
_BY_PICTURES = {
    "samples": ("Sample", "sample checkpoint={} n=64 scale=4"),
    "predictions": ("Predict frames", "predict checkpoint={}"),
    "completions": ("Complete images", "complete checkpoint={} n=8"),
    "wrongly_classified": ("Classify images", "classify checkpoint={} images=FOLDER"),
}


def commands_of(folder: Path, seen: int, most: int | None, pictures: Collection[str]) -> dict[str, str]:
    """Command lines by what they do, for a run that has seen so many images of `most` and draws these pictures."""
    run = shlex.quote(str(folder))
    done = most is not None and seen >= most
    more = f" trainer.max_images={2 * most:_}" if most and done else ""
    used = {title: command.format(run) for name, (title, command) in _BY_PICTURES.items() if name in pictures}
    lines = {
        "Train longer" if done else "Go on": f"train run_dir={run} resume=true{more}",
        "Score the best checkpoint": f"evaluate checkpoint={run}",
        **used,
        "Compare with another run": f"compare {run} OTHER_RUN",
        "Repeat": f"train again={run}",
        "Renew this page": f"report {run}",
    }
    return {title: f"lightning-gen {line}" for title, line in lines.items()}
