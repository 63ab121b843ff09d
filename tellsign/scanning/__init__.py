"""Scans of very many pictures: shards, what judges them, and where that runs."""
