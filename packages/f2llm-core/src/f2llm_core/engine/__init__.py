"""The local model: loading, tokenising, packing and the Qwen3 forward pass in plain torch."""
