"""Parts that the training commands share beside transformers' Trainer."""
