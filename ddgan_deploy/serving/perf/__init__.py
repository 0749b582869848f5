"""Load on a running server, measured."""
