"""Lets the plugin be found where it is on the path, but not installed."""

import os

os.environ.setdefault("LIGHTNING_GEN_PLUGINS", "lightning_gen_flow")
