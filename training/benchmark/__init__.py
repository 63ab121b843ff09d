"""What speed and memory the models take on this machine."""
