"""The proof: an engine against the reference."""
