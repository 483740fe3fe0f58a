# Everything happens in .venv, which is built from the lock file on first use.
PYTHON ?= python3
VENV := .venv
LOCK := requirements-dev.lock
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DOCS := .venv-docs
RELEASE := .venv-release
RESOLVE := $(RELEASE)/bin/uv pip compile --quiet --generate-hashes --no-header --upgrade
RESOLVE_LOCK := $(RESOLVE) --universal --python-version 3.11

.PHONY: demo test test-slow test-python test-lowest test-newest mutants lint docs dist lock sample-data clean

demo: $(READY)  ## Run the main job on sample_data and show what was found.
	@rm -rf demo
	$(BIN)/clear-cli run -m image=sample_data/image.parquet -m text=sample_data/text.h5 \
	    -m behaviour=sample_data/behaviour.npy --ids behaviour=sample_data/behaviour_ids.txt --out demo
	@echo
	@echo "Try next:  $(BIN)/clear-cli apply demo -m text=sample_data/new_items_text.h5 --out demo-new"

test: $(READY)  ## Run the tests, without the slow ones.
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(READY)  ## Run the slow tests; real consumers and peers get environments of their own in .venv-consumers.
	$(BIN)/python -m pytest -m slow

test-python:  ## Run the tests on another Python (make test-python PYTHON=python3.13), if there is one.
	@if version=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null); \
	then $(MAKE) test VENV=.venv-$$version; else echo "skipped: $(PYTHON) is not on this machine"; fi

test-lowest: RESOLUTION := lowest-direct
test-newest: RESOLUTION := highest
test-lowest test-newest: test-%: $(RELEASE)/.ready  ## Run the tests with the lowest or the newest versions that pyproject.toml allows.
	@mkdir -p .venv-$*
	$(RESOLVE) --python $(PYTHON) --resolution $(RESOLUTION) pyproject.toml --group dev -o .venv-$*/requirements.lock
	$(MAKE) test VENV=.venv-$* LOCK=.venv-$*/requirements.lock

mutants:  ## Change the mathematics in small ways, see whether a test notices, and count; known results in mutants/ stay.
	$(MAKE) .venv-mutants/.ready VENV=.venv-mutants LOCK=requirements-mutants.lock
	HYPOTHESIS_PROFILE=mutants OPENBLAS_NUM_THREADS=1 .venv-mutants/bin/mutmut run --max-children 1
	@.venv-mutants/bin/mutmut results --all true | sed -E 's/ *clear_cli\.([a-z]+)\..*: /\1 /' | sort | uniq -c

lint: $(READY)  ## Check style, format and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(DOCS)/.ready  ## Build the documentation in site/; a link that leads nowhere is an error.
	$(DOCS)/bin/mkdocs build --strict

dist: $(READY) $(RELEASE)/.ready  ## Build wheel and source distribution in dist/, the same bytes each time, and check them.
	rm -rf dist
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/hatchling build -d dist
	$(RELEASE)/bin/twine check --strict dist/*

sample-data: $(READY)  ## Build sample_data again.
	$(BIN)/python sample_data/build.py

lock: $(RELEASE)/.ready  ## Resolve the dependencies of development, documentation and releases again.
	$(RESOLVE_LOCK) pyproject.toml --group dev -o requirements-dev.lock
	$(RESOLVE_LOCK) pyproject.toml --group mutants -c requirements-dev.lock -o requirements-mutants.lock
	$(RESOLVE_LOCK) --group docs -o requirements-docs.lock
	$(RESOLVE_LOCK) --group release -o requirements-release.lock

clean:  ## Remove what the other targets made.
	rm -rf .venv .venv-* demo demo-new dist site mutants benchmarks/.work

$(READY): $(LOCK) pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(DOCS)/.ready $(RELEASE)/.ready: .venv-%/.ready: requirements-%.lock
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@
