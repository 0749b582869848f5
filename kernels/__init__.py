"""The fused ops of domain ``ddgan``, one folder an op."""
