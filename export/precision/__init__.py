"""Graphs in fewer bits than float32."""
