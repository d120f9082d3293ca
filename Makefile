# Every target sets up what it needs first. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test chaos-builder triage-again lint schema bench bench-build machine stop clean

# Releases that `make demo` builds: name or name==version. Empty: fleet_projects in playbooks/group_vars/all.yml.
PROJECTS ?=
# Where `make demo` serves what it built.
LISTEN ?= 127.0.0.1:8080

help:                 ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:                ## make the virtual environment, install bubblewrap and nginx where they can be
	@scripts/set-up

setup-dev:
	@scripts/set-up dev

demo: setup           ## build PROJECTS="name name==version" on this machine, serve them, pip install them
	@PROJECTS='$(PROJECTS)' LISTEN='$(LISTEN)' scripts/demo

test: setup-dev       ## run the unit and integration tests
	@scripts/in-venv pytest -n 2

chaos-builder: setup-dev  ## run the hostile corpus and the injected faults in their long form
	@CHAOS=long scripts/in-venv pytest -n 2 -rP tests/hostile tests/faults

triage-again: setup-dev   ## build every failing release of tests/triage again, from upstream, with CPython 3.11 to 3.13
	@CHAOS=long scripts/in-venv pytest tests/triage

lint: setup-dev       ## run every linter and the type checker
	@scripts/lint

schema: setup-dev     ## write piwheels_builder/db/schema.sql anew, after a new migration
	@WRITE_SCHEMA=1 scripts/in-venv pytest -q tests/integration/test_database_schema.py

bench: setup-dev      ## measure: the queue at the size of the first run's catalogue, and the writing of pages
	@scripts/in-venv python -m bench.queue_shape
	@scripts/in-venv python -m bench.publish_pages

bench-build: setup-dev  ## measure: building real releases, against pip wheel in a loop (about 18 minutes)
	@scripts/in-venv python -m bench.build

machine: setup-dev    ## as root: boot an emulated machine that has cgroup v2, and bound builds in it
	@tests/machine/prove

stop:                 ## stop what `make demo` left running
	@scripts/stop

clean: stop           ## stop it and remove everything it made, the virtual environment too
	@scripts/clean
