# `make` lists what can be made. All of it happens in $(VENV); nothing outside this folder is changed.

PYTHON := python3
VENV := .venv
OUT := out
RUN := runs/demo
# Extra words for pip install (for example where to find a CPU-only torch), pytest and jupyter lab.
PIP_FLAGS :=
PYTEST_FLAGS :=
# Processes that share the tests; 0: pytest's own alone.
PYTEST_WORKERS := 2
LAB_FLAGS :=

BIN := $(VENV)/bin
TORCH := $(shell grep '^torch==' constraints.txt)
NOTEBOOKS := $(sort $(wildcard nbs/*.ipynb))
# (A file's tests share what they have computed, so that they stay together.)
SHARED = -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder
LOWEST := .venv-lowest
NEWEST := .venv-newest
# (The studies' kept numbers are those of the versions in constraints.txt: another compiler rounds otherwise.)
NOT_WITH_OTHERS := $(addprefix tests/test_,golden.py notebooks.py lab_browser.py lab_static.py packaging.py)

.DEFAULT_GOAL := help
.PHONY: help demo test test-quick test-lowest test-newest lint lab voila bench figures wheel clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile
	@echo "Variables: PYTHON=$(PYTHON) VENV=$(VENV) OUT=$(OUT) PIP_FLAGS= PYTEST_FLAGS= PYTEST_WORKERS=$(PYTEST_WORKERS) LAB_FLAGS="

demo: $(VENV)/.installed-lab ## train the emulated chip on MNIST (2 minutes), print results, draw figure 3A/B
	$(BIN)/bss2lab demo --run $(RUN) --out $(OUT)

test: lint ## lint, then the whole test suite
	$(BIN)/python -m pytest $(SHARED) $(PYTEST_FLAGS)

test-quick: $(VENV)/.installed-dev ## while you change code: what is quick of lint and tests
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m ruff check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest $(SHARED) -m "not slow" $(PYTEST_FLAGS)

test-lowest: $(LOWEST)/.installed ## core and lab with the oldest packages that pyproject.toml allows (Python 3.11)
test-newest: $(NEWEST)/.installed ## core and lab with the newest packages that there are
test-lowest test-newest:
	$(@:test-%=.venv-%)/bin/python -m pytest $(SHARED) -W default $(NOT_WITH_OTHERS:%=--ignore=%) $(PYTEST_FLAGS)

lint: $(VENV)/.installed-dev ## ruff, pyright and the import contracts
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff check --preview --select PLW1514 .  # text files name their encoding
	$(BIN)/python -m pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-cache

lab: $(VENV)/.installed-lab ## open JupyterLab on nbs/
	$(BIN)/bss2lab lab nbs -- $(LAB_FLAGS)

voila: $(VENV)/.installed-lab ## the training cockpit alone, without JupyterLab around it
	$(BIN)/python -m voila nbs/30_lab_training_cockpit.ipynb --show_tracebacks=True $(LAB_FLAGS)

bench: $(VENV)/.installed-bench ## time this package against its peers
	$(BIN)/bss2lab bench --peers

figures: $(VENV)/.installed-lab ## run every notebook at full scale, in place (hours)
	@test -n "$(NOTEBOOKS)" || { echo "make: there is no notebook in nbs/" >&2; exit 1; }
	BSS2LAB_FULL=1 BSS2LAB_STATIC=1 $(BIN)/python -m nbconvert --to notebook --execute --inplace \
	    --ExecutePreprocessor.timeout=-1 --ExecutePreprocessor.store_widget_state=False $(NOTEBOOKS)

wheel: $(VENV)/.installed-dev ## one file in dist/ with everything, data and notebooks too: pip installs it anywhere
	$(BIN)/python -m pip wheel --no-deps --no-build-isolation -w dist .

clean: ## remove .venv and caches; runs/ and out/ stay
	for venv in $(VENV) $(LOWEST) $(NEWEST); do test ! -e $$venv/pyvenv.cfg || rm -rf $$venv; done
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find bss2lab tests nbs -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the virtual environment ------------------------------------------------------------------------------------
# $(VENV)/.made             stands where make began the environment itself: no other is ever deleted and redone
# $(VENV)/.installing       stands while pip works: if the next make finds it, pip was killed half-way
# $(VENV)/.installed-lab, .installed-dev, .installed-bench
#                           that set is in place, if newer than pyproject.toml and constraints.txt
# The sets grow (lab < dev < bench), and each is one pip command with torch in it: a second command could
# replace torch with another build.

EXTRAS_lab := lab
EXTRAS_dev := lab,dev
EXTRAS_bench := lab,dev,bench
COVERS_lab := lab
COVERS_dev := lab dev
COVERS_bench := lab dev bench

define INSTALL
$(VENV)/.installed-$(1): pyproject.toml constraints.txt
	@$$(CHECK_PYTHON)
	@$$(MAKE_VENV)
	@rm -f $$(VENV)/.installed-*; touch $$(VENV)/.installing
	$$(BIN)/python -m pip install $$(PIP_FLAGS) -c constraints.txt "$$(TORCH)" -e ".[$$(EXTRAS_$(1))]" \
	    || { rc=$$$$?; test $$$$rc -ge 128 || rm -f $$(VENV)/.installing; exit $$$$rc; }
	@rm -f $$(VENV)/.installing
	$$(BIN)/python -m pip check
	@touch $$(COVERS_$(1):%=$$(VENV)/.installed-%)
endef
$(foreach set,lab dev bench,$(eval $(call INSTALL,$(set))))

# The oldest packages have an environment of their own, made afresh after every change of their versions.
$(LOWEST)/.installed: pyproject.toml tests/lowest.py
	@$(PYTHON) tests/lowest.py >/dev/null
	rm -rf $(LOWEST)
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python tests/lowest.py >$(LOWEST)/pins.txt
	$(LOWEST)/bin/python -m pip install $(PIP_FLAGS) -r $(LOWEST)/pins.txt -e ".[lab]" \
	    $(TESTERS)
	@touch $@

# So have the newest: to have those of today, delete it.
$(NEWEST)/.installed: pyproject.toml
	rm -rf $(NEWEST)
	$(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python -m pip install $(PIP_FLAGS) -e ".[lab]" $(TESTERS)
	@touch $@
TESTERS := pytest pytest-xdist hypothesis pyyaml

# An environment that is there is kept, and its own Python counts; otherwise $(PYTHON) makes one.
define CHECK_PYTHON
python=$(PYTHON); test ! -x $(BIN)/python || python=$(BIN)/python; \
if ! command -v "$$python" >/dev/null; then \
    echo "make: there is no '$$python' here. Install Python 3.11 or newer, or name one: make PYTHON=python3.12" >&2; \
    exit 1; \
fi; \
if ! "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
    echo "make: bss2lab needs Python 3.11 or newer, but $$python is $$("$$python" --version 2>&1)." >&2; \
    if [ "$$python" = "$(PYTHON)" ]; then echo "Name a newer one: make PYTHON=python3.12" >&2; \
    else echo "Delete $(VENV) and name a newer one: rm -rf $(VENV); make PYTHON=python3.12" >&2; fi; \
    exit 1; \
fi
endef

define MAKE_VENV
if [ -e $(VENV)/.made ] && { [ -e $(VENV)/.installing ] || ! $(HAS_PIP); }; then \
    echo "make: $(VENV) was left half made; starting it afresh"; rm -rf $(VENV); \
fi; \
test -e $(VENV) || { mkdir -p $(VENV) && touch $(VENV)/.made; }; \
$(HAS_PIP) || $(PYTHON) -m venv $(VENV)
endef
HAS_PIP = $(BIN)/python -m pip --version >/dev/null 2>&1
