"""Real clients at our index: what each resolves, locks and installs.

    python -m tests.clients [--keep DIRECTORY] [--client NAME ...]

Installs pip 23.0.1, 25.1.1 and the newest, uv, poetry and pdm from the upstream index, each into an environment of its own;
publishes into a tree of its own behind nginx, beside a small upstream on this machine; prints a table. Exit code 1 where a client
does not do as it must.
"""
