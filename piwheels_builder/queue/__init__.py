"""What is wanted and unfinished: batches, leases, and the operator's commands on them."""
