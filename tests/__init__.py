"""A package, or the folder `tests` of another distribution would be imported in its place."""
