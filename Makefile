.PHONY: install test-fast test lint docs run

install:  ## Retable with what its tests and linters need
	pip install -e '.[test]'

test-fast:  ## the tests that start no Ray, no PostgreSQL and no process, and train for less than seconds
	pytest -m "not slow"

test:  ## every test
	pytest

lint:  ## the linters of .ci/run
	ruff check .
	ruff format --check .
	mypy
	lint-imports

docs:  ## the pages as a site, in build/site
	.ci/site

run:  ## the quickstart: a whole search on a small competition, on a CPU
	search start --study quickstart
