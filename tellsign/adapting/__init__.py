"""Pictures of one's own: what they would teach, and teaching it."""

import tellsign.training  # noqa: F401 - says which packages are missing before one of them is imported
