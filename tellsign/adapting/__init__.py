"""Pictures of one's own: what they would teach, and teaching it."""
