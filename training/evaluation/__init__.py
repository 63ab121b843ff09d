"""What the evaluating commands share: predictions, scores, attacks and corruptions."""
