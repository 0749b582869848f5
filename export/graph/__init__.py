"""The graphs, from a traced network to ONNX files."""
