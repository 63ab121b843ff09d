"""Models and image processors."""
