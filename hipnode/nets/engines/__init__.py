"""What runs a network: ONNX Runtime, OpenVINO, PyTorch, all to the same numbers."""
