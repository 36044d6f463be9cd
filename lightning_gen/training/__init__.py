"""One run, from a config to a run folder."""
