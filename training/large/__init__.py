"""Training of the branch for large pictures: its frozen features, and the head on them."""
