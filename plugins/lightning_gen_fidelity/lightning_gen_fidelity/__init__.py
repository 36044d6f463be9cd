"""lightning-gen's checkpoints scored by torch-fidelity itself, https://github.com/toshas/torch-fidelity."""
