"""The rules of reverse mode, one an op, grouped by kind; `rules` is their table."""
