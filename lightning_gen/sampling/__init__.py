"""Uses of a trained model: samples, paths through latents, projections, continuations."""
