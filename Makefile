# Everything lives in .venv; `make demo` and `make test` need only Python 3.11 or newer, pip and make. `make demo` installs
# what variform itself needs, `make test` what developers need beside it. What checks the explorer's script lives in node_modules and needs Node 18 or newer and npm: without them it is left out, and that is said.
PYTHON ?= python3
LOWEST_PYTHON ?= python3.11
# Further options of pip, such as the index of the builds of torch for the CPU that README.md names.
PIP_ARGS ?=
PIP := pip install --quiet --disable-pip-version-check $(PIP_ARGS)
BIN := .venv/bin
NPM := $(shell command -v npm)
NODE_MODULES := $(if $(NPM),node_modules/ready)
# What a script of package.json does, such as $(call npm,test)
npm = $(if $(NPM),npm run --silent $(1),@echo "There is no npm: '$(1)' of the explorer's script is skipped.")

.PHONY: demo docs gallery test test-lowest test-newest lint lint-script format bundle house setup peers bench browsers dist sbom check-http publish-docs
setup: .venv/ready

.venv/core: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/$(PIP) -c constraints.txt -e .
	touch $@

.venv/ready: .venv/core
	$(BIN)/$(PIP) -c constraints.txt -e '.[dev]'
	touch $@

node_modules/ready: package.json package-lock.json
	npm ci --ignore-scripts --no-audit --no-fund --silent
	touch $@

demo: .venv/core
	$(BIN)/variform demo --overwrite
	@echo "The command is .venv/bin/variform. To call it variform in this shell: source .venv/bin/activate"

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
	.venv-lowest/bin/$(PIP) -c constraints-lowest.txt -e '.[dev]'
	touch $@

# With the newest versions that there are today: no upper bound of pyproject.toml is a guess. A part of the suite in which
# every dependency is used; ARGS=tests for all.
NEWEST := tests/test_architecture.py tests/test_door.py tests/test_distribution_files.py tests/test_export.py \
	tests/test_flows.py tests/test_handover.py tests/test_optimisers.py tests/test_plots.py tests/test_serving.py \
	tests/test_sources.py tests/test_objects.py
test-newest: .venv-newest/ready
	.venv-newest/bin/pytest -q -n auto --dist worksteal $(or $(ARGS),$(NEWEST))

.venv-newest/ready: pyproject.toml
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/$(PIP) --upgrade -e '.[dev]'
	.venv-newest/bin/pip freeze --exclude-editable > .venv-newest/versions.txt
	touch $@

# The site of docs/ and the docstrings, in site/: opens without a server, and can be put on any. A warning is an error.
docs: .venv/ready $(NODE_MODULES)
	$(BIN)/python tools/build_site.py site

# The built site as a version in a folder of versions, which any host of files can serve: make publish-docs TO=FOLDER
publish-docs: docs
	$(BIN)/python tools/site_versions.py site $(or $(TO),$(error TO=FOLDER is missing: the folder of versions))

# docs/gallery.md: every combination of docs/combinations.md, trained alike; some minutes of one processor.
gallery: .venv/ready
	$(BIN)/python tools/gallery.py

# Wheel and source, as a registry takes them; and what an installation of the wheel alone consists of, in CycloneDX form.
dist: .venv-dist/ready .venv-citation/ready
	.venv-dist/bin/python -m build --outdir dist .
	.venv-dist/bin/twine check --strict dist/*
	.venv-dist/bin/hadolint Containerfile Containerfile.serve
	.venv-citation/bin/cffconvert --validate -i CITATION.cff

# What answers over HTTP against its own description.
check-http: .venv/ready .venv-http/ready
	$(BIN)/python tools/check_http.py .venv-http/bin/schemathesis

.venv-http/ready: tools/http.txt
	$(PYTHON) -m venv .venv-http
	.venv-http/bin/$(PIP) -r $<
	touch $@

sbom: .venv-dist/ready .venv/core
	.venv-dist/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file dist/sbom.json $(BIN)/python
	@.venv-dist/bin/python -c "import json; print(len(json.load(open('dist/sbom.json'))['components']), 'components: dist/sbom.json')"

.venv-dist/ready: tools/dist.txt
	$(PYTHON) -m venv .venv-dist
	.venv-dist/bin/$(PIP) -r $<
	mkdir -p dist
	touch $@

.venv-citation/ready: tools/citation.txt
	$(PYTHON) -m venv .venv-citation
	.venv-citation/bin/$(PIP) -r $<
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
	.venv-peers/bin/$(PIP) -r $<
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
