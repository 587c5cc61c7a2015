"""The latent space at work."""
