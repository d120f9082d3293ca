"""Whom connections trust: whom the operating system trusts, so that an authority of one's own is installed once for everything."""

from pathlib import Path

#: Debian's bundle, kept by update-ca-certificates.
_SYSTEM = Path("/etc/ssl/certs/ca-certificates.crt")


def trusted_bundle() -> str | None:
    """The system's certificates as one PEM file; None where it has no such file, and what a library brings along has to do.

    What the environment names (REQUESTS_CA_BUNDLE, SSL_CERT_FILE) goes before it with whoever reads that.
    """
    return str(_SYSTEM) if _SYSTEM.is_file() else None
