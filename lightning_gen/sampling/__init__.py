"""What a trained model is asked for: samples, paths through latents, projections, continuations."""
