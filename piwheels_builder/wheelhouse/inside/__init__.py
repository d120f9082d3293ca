"""What goes into a bundle as it is."""
