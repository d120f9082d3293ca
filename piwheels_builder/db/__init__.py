"""PostgreSQL: connections, named queries, migrations, and the embedded server of a fleet of one."""
