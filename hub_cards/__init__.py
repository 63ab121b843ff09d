"""Cards, exports and the Space: how models come to the Hub."""
