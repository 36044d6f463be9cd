"""Where downloaded and converted data sets are kept."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """`$LIGHTNING_GEN_CACHE`, else `$XDG_CACHE_HOME/lightning-gen`, else `~/.cache/lightning-gen`; it may not exist."""
    chosen = os.environ.get("LIGHTNING_GEN_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lightning-gen"
