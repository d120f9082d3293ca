"""What upstream offers and what of it is wanted: sync, file names, needs."""
