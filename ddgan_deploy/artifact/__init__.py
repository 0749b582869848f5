"""The exported folder: what lies in it, and how it comes to be."""
