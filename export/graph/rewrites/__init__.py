"""Exact rewrites of the ONNX graph, one a file; each returns how often it matched. `simplify` is their table."""
