"""A seeded catalogue as large as the upstream index: loaded into a database, or served as an upstream index. Simulated, all of it.

In the order to read it: shape.py (what is assumed), names.py, generate.py (what upstream offers), history.py (what a fleet made of
it), load.py and databases.py (into PostgreSQL), pages.py, changes.py, upstream.py and shelf.py (over
HTTP).
"""

#: Of what the generator makes. Whoever changes what comes out for the same seed raises it: kept databases are named after it.
VERSION = 2
