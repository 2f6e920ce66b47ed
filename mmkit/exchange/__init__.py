"""Models between mmkit and the outside: Hugging Face folders, ONNX, torch.export. Imports nothing by itself."""
