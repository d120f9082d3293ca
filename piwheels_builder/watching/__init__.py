"""Watching the fleet from a terminal: what each builder does now, and a word to it."""
