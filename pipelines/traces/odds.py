"""What the number of traces multiplies the odds of fake by, beside the pixels."""

ODDS = (0.63, 4.0, 8.0)
"""Of no trace, one, two and more, in files where traces are measured."""
