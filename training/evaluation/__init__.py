"""Predictions, scores, attacks, corruptions and sources left out, for the evaluating commands."""
