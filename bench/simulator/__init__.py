"""A fleet in virtual time: lease SQL and batch sizes are the real ones, on a real PostgreSQL; only builders are simulated."""
