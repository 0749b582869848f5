"""Triton Inference Server as a process that is started, watched and ended."""
