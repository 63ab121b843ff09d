"""Speed and memory of the models on this machine."""
