"""StyleGAN2, as its published snapshots have it."""
