"""Debian's PostgreSQL on the index host of a fleet of real hosts, reached by its Unix socket.

The role ``database`` configures it.
"""

from dataclasses import dataclass
from pathlib import Path

from piwheels_builder.db.embedded import DATABASE


@dataclass(frozen=True)
class ServedDatabase:
    """Where the server's socket is. Whoever connects must be mapped to the fleet's roles, and to postgres, by its pg_ident.conf."""

    socket_dir: Path
    port: int = 5432
    name: str = DATABASE

    def conninfo(self, role: str) -> str:
        """A libpq connection string to the fleet's database as one of its roles."""
        return f"host={self.socket_dir} port={self.port} dbname={self.name} user={role}"

    def superuser_conninfo(self, name: str = "postgres") -> str:
        """A libpq connection string to any database of the cluster, for what only its superuser can do."""
        return f"host={self.socket_dir} port={self.port} dbname={name} user=postgres"
