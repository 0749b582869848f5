"""The families of generators, one folder each."""
