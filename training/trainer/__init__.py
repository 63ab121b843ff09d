"""What the training commands share beside transformers' Trainer."""
