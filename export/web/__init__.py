"""A page that draws in the browser alone, with onnxruntime-web."""
