"""Experiments with image generators: GANs, VAEs and recurrent models."""
