"""Reference models in PyTorch."""
