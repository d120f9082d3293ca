"""What runs inside the sandbox, in the environment of a build: standard library only, Python 3.8 and newer."""
