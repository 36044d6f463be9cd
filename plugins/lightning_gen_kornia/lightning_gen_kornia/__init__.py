"""kornia's augmentations for lightning-gen, https://github.com/kornia/kornia."""
