# `make demo` and `make test` need Python >= 3.11 and make; they set up everything else in .venv.

VENV := .venv
NEWEST_VENV := .venv-newest
DOCS_VENV := .venv-docs
WORKERS ?= 2

# find_python(CANDIDATES, LOWEST): the first candidate that runs, is at least LOWEST (as "3, 11") and
# can make environments. It is run, not just looked up: a shim on PATH may stand for nothing.
find_python = $(shell for python in $(1); do \
	"$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < ($(2)))' \
	</dev/null >/dev/null 2>&1 && { echo "$$python"; break; }; done)

comma := ,
# constraints.txt was tested on 3.11, so that one comes first.
PYTHON ?= $(call find_python,python3.11 python3 python3.12 python3.13 python3.14,3$(comma) 11)
# The newest first; pyenv hides what it holds until it is told which one to use.
PYENV_PYTHONS = $(shell ls -d $${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.*/bin/python 2>/dev/null | sort -rV)
NEWEST_PYTHON ?= $(call find_python,python3.14 python3.13 python3.12 python3 $(PYENV_PYTHONS),3$(comma) 12)
# Each version that a release is for, where it is present.
of_version = $(foreach python,$(PYENV_PYTHONS),$(if $(findstring /$(1).,$(python)),$(python)))
RELEASE_PYTHONS ?= $(foreach minor,11 12 13 14,\
	$(call find_python,python3.$(minor) $(call of_version,3.$(minor)),3$(comma) $(minor)))

# make_venv(PYTHON, DIRECTORY): leaves a working environment as it is, and replaces a broken one.
define make_venv
	@$(2)/bin/python -m pip --version >/dev/null 2>&1 || { echo "Creating $(2)"; $(1) -m venv --clear $(2); }
endef
# A file runs on one worker, and files start in their order: the longest do not come last.
PYTEST := -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# Bytecode of what is imported is written then; that of all packages would take as long as the rest.
PIP_INSTALL := -m pip install -q --disable-pip-version-check --no-input --no-compile

.PHONY: help demo test lint format format-check types test-newest docs notebooks release-check clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/make \1\t\2/' | expand -t 20

demo: $(VENV)/.installed ## Train an autoregressive and a coupling flow on real data, with pictures
	$(VENV)/bin/flowjax-lite compare configs/digits_maf.yaml configs/digits_nsf_coupling.yaml \
		--out runs/demo --overwrite

test: $(VENV)/.installed ## Run all tests on two workers
	$(VENV)/bin/python $(PYTEST)

lint: $(VENV)/.installed ## Check for mistakes and import order
	$(VENV)/bin/ruff check .

format: $(VENV)/.installed ## Format the code, and fix what can be fixed safely
	$(VENV)/bin/ruff check --fix-only -q .
	$(VENV)/bin/ruff format .

format-check: $(VENV)/.installed ## Check the format, change nothing
	$(VENV)/bin/ruff format --check .

types: $(VENV)/.installed ## Check the types of the package, and of what users write
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy --config-file= --strict --follow-imports=silent tests/packaging/user_code.py

test-newest: ## Run the smoke tests on the newest Python here, with the newest jax and flax
	@python="$(NEWEST_PYTHON)"; \
	if test -z "$$python"; then \
		echo "make test-newest: no working Python 3.12 or newer found; nothing to test."; \
	else \
		echo "make test-newest: using $$("$$python" --version) ($$python)"; \
		$(MAKE) --no-print-directory run-smoke NEWEST_PYTHON="$$python"; \
	fi

.PHONY: run-smoke
run-smoke: $(NEWEST_VENV)/.installed
	$(NEWEST_VENV)/bin/python $(PYTEST) -m smoke

docs: $(DOCS_VENV)/.installed ## Build the documentation site into docs/_build, its notebooks run where they changed
	$(DOCS_VENV)/bin/python docs/run_notebooks.py docs/_build/.jupyter_cache --workers $(WORKERS)
	$(DOCS_VENV)/bin/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	$(DOCS_VENV)/bin/python docs/check_site.py docs/_build/html
	@echo "Open docs/_build/html/index.html"

notebooks: docs ## Build the site, and leave its notebooks, as they ran, for Jupyter in docs/_build/notebooks
	mkdir -p docs/_build/notebooks
	cp docs/_build/jupyter_execute/notebooks/*.ipynb docs/_build/notebooks

release-check: ## Build sdist and wheel into dist, and try the wheel on every Python from 3.11 to 3.14 found here
	.ci/build $(PYTHON)
	@set -e; for python in $(RELEASE_PYTHONS); do "$$python" --version; .ci/try-wheel "$$python"; done

clean: ## Remove the environments, what was built, and the tools' caches
	rm -rf $(VENV) $(NEWEST_VENV) $(DOCS_VENV) docs/_build docs/api docs/results build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

# Set-up happens once, and again when what it depends on changes.
$(VENV)/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No working Python >= 3.11 found; give one with PYTHON=..." >&2; exit 1; }
	$(call make_venv,$(PYTHON),$(VENV))
	$(VENV)/bin/python $(PIP_INSTALL) -c constraints.txt -e ".[test]"
	@touch $@

$(NEWEST_VENV)/.installed: pyproject.toml
	$(call make_venv,$(NEWEST_PYTHON),$(NEWEST_VENV))
	$(NEWEST_VENV)/bin/python $(PIP_INSTALL) --upgrade --upgrade-strategy eager -e ".[test]"
	@touch $@

$(DOCS_VENV)/.installed: pyproject.toml constraints.txt
	$(call make_venv,$(PYTHON),$(DOCS_VENV))
	$(DOCS_VENV)/bin/python $(PIP_INSTALL) -c constraints.txt -e ".[docs]"
	@touch $@
