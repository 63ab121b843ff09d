"""What is fitted to the outputs of a trained model."""
