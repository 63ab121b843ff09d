"""Sentences about artifacts: how they are written, become examples and are scored."""
