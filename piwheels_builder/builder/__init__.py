"""The thin builder: a spool, a sandbox, an outbox."""
