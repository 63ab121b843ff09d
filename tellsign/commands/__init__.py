"""The commands of `tellsign`, one module each.

Each imports what it needs when it runs, so that help and a wrong option are answered before PyTorch is loaded.
"""
