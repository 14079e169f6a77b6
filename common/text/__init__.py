"""Text: tokens, pretrained encoders by hub id (frozen, fine-tuned, LoRA), their ONNX files, n-grams."""
