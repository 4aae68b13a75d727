"""Weights in, a checked release out: load → wrap → ONNX → parity → config.pbtxt → ``releases/<bundle>``.

Run it as ``python -m export BUNDLE``. The service and the model repository import nothing of this package; they read
the files that it writes (ONNX, config.pbtxt, release.json).
"""
