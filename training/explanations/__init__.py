"""Sentences about artifacts: written, made into examples, scored."""
