# Every target sets up what it needs first. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test chaos-builder triage-again lint schema bench bench-build machine stop clean \
	add-builder move-database rack rack-down acceptance acceptance-full chaos

# Releases that `make demo` builds: name or name==version. Empty: fleet_projects in playbooks/group_vars/all.yml.
PROJECTS ?=
# How long `make chaos` breaks things.
MINUTES ?= 30
# Where `make demo` serves what it built.
LISTEN ?= 127.0.0.1:8080
# Processes that run the tests: two for each processor, since half of what tests do is to wait; one for each GiB where that is less.
PROCESSES ?= $(shell awk -v n=$$((2 * $$(nproc))) '/^MemTotal/ {g = int($$2 / 1048576); n = g < n ? g : n; print n < 2 ? 2 : n}' /proc/meminfo)
# Inventory of the fleet that `make move-database` moves to.
TO ?=

help:                 ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:                ## make the virtual environment, install bubblewrap and nginx where they can be
	@scripts/set-up

setup-dev:
	@scripts/set-up dev

demo: setup           ## build PROJECTS="name name==version" on this machine, serve them, pip install them
	@PROJECTS='$(PROJECTS)' LISTEN='$(LISTEN)' scripts/demo

test: setup-dev       ## run the unit and integration tests
	@scripts/in-venv pytest -n $(PROCESSES) --dist worksteal

chaos-builder: setup-dev  ## run the hostile corpus and the injected faults in their long form
	@CHAOS=long scripts/in-venv pytest -n 2 -rP tests/hostile tests/faults

triage-again: setup-dev   ## build every failing release of tests/triage again, from upstream, with CPython 3.11 to 3.13
	@CHAOS=long scripts/in-venv pytest tests/triage

lint: setup-dev       ## run every linter and the type checker
	@scripts/lint

schema: setup-dev     ## write piwheels_builder/db/schema.sql anew, after a new migration
	@WRITE_SCHEMA=1 scripts/in-venv pytest -q tests/integration/test_database_schema.py

bench: setup-dev      ## measure: the queue at the size of the first run's catalogue, pages, a round over 1,000 hosts, ordering 20 Pis
	@scripts/in-venv python -m bench.queue_shape --releases 752817
	@scripts/in-venv python -m bench.publish_pages
	@scripts/in-venv python -m bench.sync
	@scripts/in-venv python -m bench.round
	@scripts/in-venv python -m bench.hosted_pis

bench-build: setup-dev  ## measure: building real releases, against pip wheel in a loop (about 18 minutes)
	@scripts/in-venv python -m bench.build

machine: setup-dev    ## as root: boot an emulated machine that has cgroup v2, and bound builds in it
	@tests/machine/prove

rack: setup-dev       ## as root: bring up five test hosts, two of them emulated Pis (RACK_NUMBER=0..9 keeps racks apart)
	@scripts/in-venv python -m tests.rack up

rack-down: setup-dev  ## as root: take them down; base images stay cached
	@scripts/in-venv python -m tests.rack down

acceptance: setup-dev ## as root: bring the rack up, provision it, build, install, break things, take it down
	@scripts/in-venv pytest -rP -x --durations=15 tests/rack

acceptance-full: setup-dev  ## the same with every cell of the fault matrix, power cuts and all
	@ACCEPTANCE=full scripts/in-venv pytest -rP --durations=30 tests/rack tests/netboot

chaos: setup-dev      ## as root: break the rack at random for MINUTES=30
	@scripts/in-venv python -m tests.rack.chaos '$(MINUTES)'

add-builder: setup    ## make a stock Pi a builder: HOST=pi@192.168.1.20 NAME=pi3 INVENTORY=inventory/rack
	@scripts/add-builder $(if $(NAME),--name '$(NAME)') $(if $(INVENTORY),--inventory '$(INVENTORY)') -- '$(HOST)'

move-database: setup  ## move this machine's fleet of one to the index host of the inventory TO=...
	@TO='$(TO)' scripts/move-database

stop:                 ## stop what `make demo` left running
	@scripts/stop

clean: stop           ## stop it and remove everything it made, the virtual environment too
	@scripts/clean
