# Everything happens in .venv, which is built from the lock file on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DOCS := .venv-docs
UV_LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --upgrade

.PHONY: demo test test-slow lint docs lock sample-data clean

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

lint: $(READY)  ## Check style, format and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(DOCS)/.ready  ## Build the documentation in site/; a link that leads nowhere is an error.
	$(DOCS)/bin/mkdocs build --strict

sample-data: $(READY)  ## Build sample_data again.
	$(BIN)/python sample_data/build.py

lock:  ## Resolve the dependencies of development and of the documentation again (needs uv).
	$(UV_LOCK) pyproject.toml --group dev -o requirements-dev.lock
	$(UV_LOCK) --group docs -o requirements-docs.lock

clean:  ## Remove what the other targets made.
	rm -rf $(VENV) $(DOCS) .venv-consumers demo demo-new site benchmarks/.work

$(READY): requirements-dev.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(DOCS)/.ready: requirements-docs.lock
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-docs.lock
	@touch $@
