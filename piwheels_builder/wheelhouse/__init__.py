"""Wheelhouses: from what somebody requires to hashed requirements, or an archive that installs where there is no network."""
