"""Flow matching and diffusion for lightning-gen: models of ordinary differential equations from noise to images."""
