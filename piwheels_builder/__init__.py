"""Turns releases of the upstream index into wheels: catalogue, queue, builder, triage, index - in the order a release travels."""
