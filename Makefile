# The front door. Every target makes its own virtual environment first, once: all it takes is python3, make and git.
#
#   make test ARGS="-k fence -x"       arguments for the command behind a target
#   PYTHON=python3.13 make test        another interpreter, in another virtual environment

ifdef PYTHON
VENV := .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
else
VENV := .venv
endif
export PYTHON
BIN := $(VENV)/bin
ready = @$(or $(PYTHON),python3) tools/environment.py $(VENV) $(1)

.DEFAULT_GOAL := help
.PHONY: help demo test lint docs wheel bench soak sync constraints clean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1#\2/p' Makefile | awk -F'#' '{ printf "%-18s %s\n", $$1, $$2 }'

demo: ## watch several processes read real data through Holdfast
	$(call ready,demo)
	@$(BIN)/holdfast demo $(ARGS)

test: ## run the tests
	$(call ready,test)
	@$(BIN)/python -m pytest $(ARGS)

lint: ## check twins, Lua headers, style, types and the order of the house
	$(call ready,lint)
	$(BIN)/python tools/unasync.py --check
	$(BIN)/python tools/lua_headers.py
	$(BIN)/ruff check
	$(BIN)/ruff format --check --quiet
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python tools/public_types.py
	$(BIN)/lint-imports --no-logo

docs: ## build the documentation; warnings are errors
	$(call ready,docs)
	@$(BIN)/sphinx-build --nitpicky --fail-on-warning --keep-going --quiet -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

wheel: ## build the wheel and try it where no source tree is
	$(call ready,test)
	@$(BIN)/python tools/check_wheel.py

bench: ## measure
	$(call ready,bench)
	@$(BIN)/python -m benchmarks $(ARGS)

soak: ## run the long storms
	$(call ready,test)
	@$(BIN)/python -m pytest -m soak --timeout=3600 $(ARGS)

sync: ## write the synchronous twins
	@$(or $(PYTHON),python3) tools/unasync.py

constraints: ## pin the newest versions of everything (needs uv)
	@uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras --upgrade --quiet --no-header \
	    --no-annotate --group venv --group test --group lint --group docs --group bench --output-file constraints.txt

clean: ## remove what the other targets made
	rm -rf .venv .venv-* build dist docs/_build .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
