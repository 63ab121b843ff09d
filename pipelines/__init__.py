"""Pipelines and what they are made of."""

import transformers  # noqa: F401 - first, so that what is registered with it is loaded whole
