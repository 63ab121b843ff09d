"""Annotations that people make: files, the page to make them, and how far people agree."""
