"""TensorRT and TensorRT-RTX: engine files, on a GPU."""
