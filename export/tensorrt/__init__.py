"""Engine files for NVIDIA GPUs, by TensorRT and TensorRT-RTX."""
