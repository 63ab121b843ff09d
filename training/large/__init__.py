"""Training of the network for large pictures: its frozen features, and the head on them."""
