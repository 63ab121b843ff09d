"""Models and image processors."""

import transformers  # noqa: F401 - first, so that what is registered with it is loaded whole
