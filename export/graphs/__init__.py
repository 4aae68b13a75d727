"""Torch modules → ONNX files, and the config.pbtxt beside them."""
