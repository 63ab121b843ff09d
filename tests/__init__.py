"""A package, or the folder `tests` of another distribution would be imported in its place."""

import os


# Before PyTorch is imported, here and in each process that a test starts: tests run side by side, on all CPUs.
os.environ.setdefault("OMP_NUM_THREADS", "1")
