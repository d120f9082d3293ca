"""The published index: verified wheels, project pages, the tree nginx serves."""
