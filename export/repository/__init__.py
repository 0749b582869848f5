"""The Triton Inference Server model repository of an artifact."""
