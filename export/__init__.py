"""Weights in, a checked release out: load → wrap → ONNX → parity → config.pbtxt → ``releases/<bundle>``.

Run it as ``python -m export BUNDLE``. Nothing in here is imported by the service: it and the model repository meet this
package only through files (ONNX, config.pbtxt, release.json).
"""
