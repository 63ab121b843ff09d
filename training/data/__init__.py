"""Images to learn from: their sources, pixels, views and groups."""
