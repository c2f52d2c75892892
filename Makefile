# make demo    real servers and clients, traced, captured and drawn
# make test    everything that CI checks: ruff, mypy, pytest; the tracer on the oldest and the newest Python
# make quick   the tests for daily work, in 15 seconds: all but SLOW, see below
# make steady  the tests RUNS times under load 8, each time in another order
# make matrix  the quick and the tracer's tests on every installed Python from 3.10 on
# make coverage    how much of the code the tests run, file by file
# make mutants changes the code in one place, again and again, and lists the changes that no test notices
# make bench   speed, as ratios against baselines of the same run
# make proof   the simulator beside the running kernel: SCENARIOS generated ones, sequences to DEPTH
# make traces, make diagrams, make machines    make the committed traces, pictures and pages, and the compiled machines anew
# Each target sets up what it needs: a virtual environment here and, as root, Debian packages.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PACKAGES := graphviz tcpdump tshark curl openssl iproute2 nftables
COMMANDS := dot tcpdump tshark curl openssl ip nft
# Some of these are here, and not on everybody's PATH.
export PATH := $(PATH):/usr/sbin:/sbin
# The tests capture packets. Without root they do it in a user and network namespace of their own.
ALONE := $(shell [ "$$(id -u)" = 0 ] || echo "unshare --user --map-current-user --keep-caps --net sh -c 'ip link set lo up && exec \"\$$@\"' alone")

# One worker for each core. A worker without tests takes some from another one.
PYTEST = $(BIN)/python -m pytest -n $(or $(JOBS),$(shell nproc)) --dist worksteal
MATRIX = $(BIN)/python tests/matrix.py -n $(or $(JOBS),$(shell nproc)) --dist worksteal
# What takes more than a second or two, mostly because it starts many interpreters.
SLOW := $(patsubst %,tests/test_%.py,capture capture_bounds conform damaged_trace demo fuzz handshake \
  hostile_arguments illegal learn lint_command machines pager pcapng pytest_plugin readme recorded_handshakes \
  records replaced run run_hostile run_network shown sim_programs_library sinks step_view tracer_faults \
  tracer_session traps tshark_verdicts watching)

# What depends on the version of Python most: the code in somebody else's process. For the matrix.
TRACER := $(patsubst %,tests/test_%.py,replaced run run_hostile sinks tracer_faults tracer_session) tests/unmodified
# The core of these, which `make test` runs on the oldest and the newest Python: 10 seconds in all.
ENDS := $(patsubst %,tests/test_%.py,same_socket traced_sockets sinks waits_exact)

.PHONY: demo test quick matrix coverage steady compiled lint mutants bench diagrams machines traces proof conform clean packages

demo: $(READY)
	rm -rf demo-output
	$(BIN)/sockfsm demo -o demo-output

test: $(READY) packages lint compiled
	$(BIN)/python tests/matrix.py --ends --prepare
	$(ALONE) $(PYTEST)
	$(ALONE) $(MATRIX) --ends $(ENDS)

matrix: $(READY) packages compiled
	$(BIN)/python tests/matrix.py --prepare
	$(ALONE) $(MATRIX) $(filter-out $(SLOW),$(wildcard tests/test_*.py)) $(TRACER)

coverage: $(READY) packages compiled
	rm -f .coverage .coverage.*
	$(ALONE) $(PYTEST) --cov --cov-report=term

quick: $(READY) packages compiled
	$(ALONE) $(PYTEST) $(filter-out $(SLOW),$(wildcard tests/test_*.py))

steady: $(READY) packages compiled
	$(ALONE) $(BIN)/python tests/steady.py $(or $(RUNS),20) --load $(or $(LOAD),8)

# The tests start hundreds of interpreters, which may not be able to store compiled code.
compiled: $(READY)
	@$(BIN)/python -m compileall -q sockfsm tests

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

mutants: $(READY) packages
	$(BIN)/python tests/mutation --count $(or $(MUTANTS),66) --seed $(or $(SEED),1)

bench: $(READY) packages
	@for file in tests/benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

# Programs and suites, plain and traced. SOAK: seconds of the soak test. SUITES: only these.
dropin: $(READY) packages redis
	$(BIN)/python tests/dropin/table.py $(SUITES)

soak: $(READY)
	$(BIN)/python tests/dropin/soak.py

diagrams: $(READY)
	$(BIN)/python -m sockfsm.diagrams
	$(BIN)/python diagrams/pages.py
	$(BIN)/python diagrams/screens.py
	$(BIN)/python traces/record.py --pictures

machines: $(READY)
	$(BIN)/python -m sockfsm.model

traces: $(READY) packages
	$(BIN)/python traces/record.py

# The simulator beside the running kernel, at length: its scenarios, 2,000 generated ones, every sequence.
proof: $(READY) packages compiled
	SOCKFSM_SCENARIOS=$(or $(SCENARIOS),2000) SOCKFSM_DEPTH=$(or $(DEPTH),3) \
	  $(ALONE) $(PYTEST) tests/test_sim_compare.py tests/test_sim_conform.py

conform: $(READY)
	$(BIN)/sockfsm conform --depth 6

$(READY): pyproject.toml
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(MAKE) --no-print-directory python-venv
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[draw,learn,test]'
	touch $@

# Some tests compare with these, or run CPython's own test.test_socket, which Debian has in a package
# of its own. As root, missing ones are installed.
packages: $(READY)
	@missing=; for command in $(COMMANDS); do command -v $$command >/dev/null || missing="$(PACKAGES)"; done; \
	$(BIN)/python -c 'import test.test_socket' 2>/dev/null || \
	  missing="$$missing lib$$($(BIN)/python -c 'import sys; print("python%d.%d" % sys.version_info[:2])')-testsuite"; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	else echo "make: the tests need these packages, or what they hold: $$missing" >&2; exit 2; fi

.PHONY: redis
redis:
	@command -v redis-server >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server >/dev/null; \
	else echo "make: the suite of redis needs redis-server" >&2; exit 2; fi

.PHONY: python-venv
python-venv:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null; \
	else echo "make: $(PYTHON) cannot make virtual environments: install python3-venv" >&2; exit 2; fi

clean:
	rm -rf $(VENV) $(VENV)-3.* .coverage* build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache demo-output
