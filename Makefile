# Everything lives in .venv; `make demo` and `make test` need only Python 3.11 or newer, pip and make.
PYTHON ?= python3
LOWEST_PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: demo test test-lowest lint format house setup peers bench browsers
setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: .venv/ready
	$(BIN)/variform demo --overwrite

# As many processes as the machine has processors, each with one thread (tests/conftest.py); one that has done its share
# takes from the others. For fewer or none: make test ARGS="-n 0 tests/test_flows.py"
test: .venv/ready
	$(BIN)/pytest -q -n auto --dist worksteal $(ARGS)

# The same with the lowest versions that pyproject.toml allows, as constraints-lowest.txt has them.
test-lowest: .venv-lowest/ready
	.venv-lowest/bin/pytest -q -n auto --dist worksteal $(ARGS)

.venv-lowest/ready: pyproject.toml constraints-lowest.txt
	$(LOWEST_PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/pip install --quiet --disable-pip-version-check -c constraints-lowest.txt -e '.[dev]'
	touch $@

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check

# The rooms, the arrows between them, and how dense the pages are, beside code that is praised. Nothing is enforced.
house:
	@$(PYTHON) tools/house.py

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What benchmarks/speed.py compares with; nothing else needs it. Its options: make bench ARGS="--batches 128 --epochs 5"
peers: .venv-peers/ready

.venv-peers/ready: benchmarks/peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

bench: .venv/ready .venv-peers/ready
	$(BIN)/python benchmarks/speed.py $(ARGS)

# Chromium and Firefox for the tests of the explorer page, on Debian; without them those tests are skipped.
browsers:
	command -v chromium && command -v firefox-esr || \
	{ apt-get update && apt-get install --yes --no-install-recommends chromium firefox-esr; }
