"""Pictures: decoding what people send, pretrained backbones from a folder, near-duplicates."""
