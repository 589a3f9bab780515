# Everything lives in .venv; `make demo` and `make test` need only Python 3.11 or newer, pip and make. What checks the
# explorer's script lives in node_modules and needs Node 18 or newer and npm: without them it is left out, and that is said.
PYTHON ?= python3
LOWEST_PYTHON ?= python3.11
BIN := .venv/bin
NPM := $(shell command -v npm)
NODE_MODULES := $(if $(NPM),node_modules/ready)
# What a script of package.json does, such as $(call npm,test)
npm = $(if $(NPM),npm run --silent $(1),@echo "There is no npm: '$(1)' of the explorer's script is skipped.")

.PHONY: demo test test-lowest lint lint-script format bundle house setup peers bench browsers
setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

node_modules/ready: package.json package-lock.json
	npm ci --ignore-scripts --no-audit --no-fund --silent
	touch $@

demo: .venv/ready
	$(BIN)/variform demo --overwrite

# As many processes as the machine has processors, each with one thread (tests/conftest.py); one that has done its share
# takes from the others. For fewer or none: make test ARGS="-n 0 tests/test_flows.py"
test: .venv/ready $(NODE_MODULES)
	$(call npm,test)
	$(BIN)/pytest -q -n auto --dist worksteal $(ARGS)

# The same with the lowest versions that pyproject.toml allows, as constraints-lowest.txt has them.
test-lowest: .venv-lowest/ready
	.venv-lowest/bin/pytest -q -n auto --dist worksteal $(ARGS)

.venv-lowest/ready: pyproject.toml constraints-lowest.txt
	$(LOWEST_PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/pip install --quiet --disable-pip-version-check -c constraints-lowest.txt -e '.[dev]'
	touch $@

lint: .venv/ready $(NODE_MODULES)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check
	$(call npm,lint)

lint-script: $(NODE_MODULES)
	$(call npm,lint)

# The rooms, the arrows between them, and how dense the pages are, beside code that is praised. Nothing is enforced.
house:
	@$(PYTHON) tools/house.py

format: .venv/ready $(NODE_MODULES)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(call npm,format)

# The explorer's script in one file, which is checked in; a test says when it is not what the sources give.
bundle: $(NODE_MODULES)
	$(call npm,bundle)

# What benchmarks/speed.py compares with; nothing else needs it. Its options: make bench ARGS="--batches 128 --epochs 5"
peers: .venv-peers/ready

.venv-peers/ready: benchmarks/peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

bench: .venv/ready .venv-peers/ready
	$(BIN)/python benchmarks/speed.py $(ARGS)

# Chromium and Firefox for the tests of the explorer page, and Node for its script, on Debian; without them those tests
# are skipped.
MISSING := $(if $(shell command -v chromium),,chromium) $(if $(shell command -v firefox-esr),,firefox-esr) \
	$(if $(NPM),,nodejs npm)
browsers:
	test -z "$(strip $(MISSING))" || \
	{ apt-get update && apt-get install --yes --no-install-recommends $(MISSING); }
