# The commands of the README, and what developers need.
CARGO ?= cargo
DATA ?= data

.PHONY: demo run test test-real-api llama swarm bench lint tools deploy-lint

demo: ## builds the daemon and shows it at work on a simulated homelab; needs nothing, leaves nothing behind
	$(CARGO) run --release --bin homeostat -- demo

run: ## builds the daemon and lets it watch this machine
	$(CARGO) run --release --bin homeostat -- run --data $(DATA)

test: tools ## installs what the tests need, then runs all of them
	scripts/llama-server --if-possible $(CARGO) test --workspace
	$(CARGO) test --profile quick -p homeostat-kernel -p homeostat-sim --features homeostat-sim/sabotage -- policy swarm

test-real-api: ## the Kubernetes part against a real API server with the definitions of Kratix and Chaos Mesh; builds it first, once
	scripts/real-api-server sh -c '$(CARGO) test -p homeostat-kube-face --test client -- flows twins --nocapture && $(CARGO) test -p homeostat-actuators --lib -- kube::tests::real --nocapture'

llama: ## five hundred questions to a real llama.cpp server whose model has learned nothing; installs it, once (34 MB)
	scripts/llama-server $(CARGO) test -p homeostat-reasoners --lib -- llama --nocapture

swarm: ## half a day on a thousand seeds, every invariant checked after every journal entry
	$(CARGO) run --release --bin homeostat -- simulate --scenario labs/classic/swarm.yaml --swarm 1000

bench: ## prints what performance we promise and what was measured
	$(CARGO) bench --workspace --bench promises

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --offline check licenses bans sources; else echo "cargo-deny is not installed: licences and duplicates were not checked"; fi

# What checks deploy/ may be missing: its tests say SKIPPED then.
tools:
	sh scripts/install-test-tools
	-sh scripts/install-deploy-tools

deploy-lint: ## checks the manifests and the chart with the tools of others
	sh scripts/validate-deploy
