"""Training, evaluation and benchmarks. Nothing here is imported at run time."""
