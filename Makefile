# Everything that CI does, a laptop does by the same target. Needs Go, git and
# make, nothing else; `make test` is the one to run before a commit.

SHELL      := bash
.SHELLFLAGS := -euo pipefail -c
FUZZTIME   ?= 10s
BENCHFLAGS ?=
TOOLS      := $(CURDIR)/dist/tools
# Modules of their own keep what only development needs out of go.mod.
MODULES    := tools/promcheck tools/deploycheck charts/test
# Of tools only what is quick to build is tested each time, all of it by verify.
TOOLTESTS  := ./testsum ./release ./vulncheck

.PHONY: all build test verify bench fmt lint fuzz generate crash tools others alerts prometheus image release release-check licenses vuln

all: build

build: ## the program, as dist/penstock
	CGO_ENABLED=0 go build -trimpath -o dist/ ./cmd/penstock

test: lint ## all checks, all tests, a little fuzzing
	$(MAKE) --no-print-directory fuzz
	(go test -json -race -shuffle=on ./... || true; go -C tools test -json -count=1 $(TOOLTESTS) || true; \
		for m in $(MODULES); do go -C $$m test -json -count=1 ./... || true; done) | $(TOOLS)/testsum

verify: ## the long form of test: nothing is left out
	$(MAKE) --no-print-directory fuzz FUZZTIME=60s
	go test -run '^$$' -bench . -benchtime 1x ./... >dist/bench-verify.txt
	$(MAKE) --no-print-directory crash
	$(MAKE) --no-print-directory alerts
	$(MAKE) --no-print-directory release-check
	$(MAKE) --no-print-directory others
	$(MAKE) --no-print-directory test

others: ## other systems, the tools that are slow to build
	GOOS=darwin GOARCH=arm64 go vet ./...
	GOOS=windows GOARCH=amd64 go build ./cmd/... ./examples/...
	go -C tools vet ./...
	go -C tools test -count=1 ./...

crash: ## kill the process at every step, upgrade a cluster, many times
	PENSTOCK_LONG=1 go test ./internal/app -run 'Crash|ExternalSetup' -count=1 -timeout 60m -v

alerts: prometheus ## the alerts, by promtool and by a real Prometheus that watches a real Penstock
	promtool check rules charts/penstock/files/alerts.yaml
	promtool test rules internal/telemetry/testdata/alerts_test.yaml
	go test -tags prometheus ./internal/app -run PrometheusScenario -count=1 -timeout 20m -v

prometheus: # what alerts needs, from Debian
	@command -v promtool >/dev/null && command -v prometheus >/dev/null && exit 0; \
	test "$$(id -u)" = 0 && command -v apt-get >/dev/null || \
		{ echo 'promtool and prometheus are missing: install the package prometheus (apt-get install prometheus)' >&2; exit 1; }; \
	apt-get install -y --no-install-recommends prometheus

# On a busy machine the fuzzer itself can miss the end of its time and say so as
# a failure; one that found something names the failing input.
fuzz: ## every fuzz target for FUZZTIME
	@mkdir -p dist; list=$$(go test -list '^Fuzz' ./... | awk '/^Fuzz/ {t[n++] = $$1} /^ok/ {for (i = 0; i < n; i++) print $$2, t[i]; n = 0}'); \
	test -n "$$list" || { echo 'no fuzz target found' >&2; exit 1; }; \
	while read -r pkg target; do \
		echo "fuzz $$target $(FUZZTIME)"; \
		go test "$$pkg" -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) >dist/fuzz.txt 2>&1 || \
			{ grep -q '^ *context deadline exceeded$$' dist/fuzz.txt && ! grep -q 'Failing input' dist/fuzz.txt; } || \
			{ cat dist/fuzz.txt; exit 1; }; \
	done <<<"$$list"

bench: ## throughput of this machine, against its ceiling; BENCHFLAGS are those of ./bench
	go run ./bench $(BENCHFLAGS)

fmt: ## write all files as they should be
	gofmt -w $$(git ls-files '*.go' --cached --others --exclude-standard)
	go mod tidy
	for m in tools $(MODULES) tools/s3server; do go -C $$m mod tidy; done

generate: ## write the generated pages anew
	go test ./internal/clickfunnels -run '^TestEventsPage$$' -update
	go test ./internal/dashboard -run Generated -update
	go test ./internal/reference -run Generated -update
	go test ./internal/broker -run ClusterPage -update
	go test ./internal/console -run Generated -update
	go -C charts/test test -run Generated -update .
	for role in $$(ls deploy/compose/nats/permissions | sed 's/\.conf//'); do go run ./cmd/penstock provision --print-permissions $$role \
		-c deploy/compose/penstock/cluster/penstock.yaml >deploy/compose/nats/permissions/$$role.conf; done

lint: tools ## what is wrong without running anything
	@bad=$$(gofmt -l $$(git ls-files '*.go' --cached --others --exclude-standard)); \
	test -z "$$bad" || { echo "not formatted, run make fmt:"; echo "$$bad"; exit 1; } >&2
	for m in . tools $(MODULES) tools/s3server; do go -C $$m mod tidy -diff; done
	for m in . $(MODULES); do go -C $$m vet ./...; done
	go vet -tags prometheus ./internal/app
	go -C tools vet $(TOOLTESTS)
	GOOS=darwin GOARCH=arm64 go vet ./internal/broker # where power is synced otherwise
	$(TOOLS)/staticcheck ./...
	go -C tools run ./licenses -dir .. -check

tools: # what test and lint run
	@mkdir -p $(TOOLS)
	@go -C tools build -o $(TOOLS)/ honnef.co/go/tools/cmd/staticcheck ./testsum
	@go -C tools/s3server build -o $(TOOLS)/ github.com/versity/versitygw/cmd/versitygw

image: ## the container image penstock:<version>, by Docker
	version=$$(git describe --tags --always --dirty); \
	docker build -t penstock:$$version --build-arg VERSION=$$version \
		--build-arg REVISION=$$(git rev-parse HEAD) --build-arg CREATED=$$(git log -1 --format=%cI) .

RELEASE_TARGETS ?= linux/amd64,linux/arm64,darwin/amd64,darwin/arm64,windows/amd64

release: ## archives, manual, completions, SBOMs, the chart and checksums in dist/release
	@mkdir -p $(TOOLS)
	go -C tools build -o $(TOOLS)/ github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod
	go -C tools run ./release -dir .. -out ../dist/release -sbom $(TOOLS)/cyclonedx-gomod -targets $(RELEASE_TARGETS)

release-check: ## the commit, built twice in two folders, gives the same bytes
	@mkdir -p $(TOOLS)
	go -C tools build -o $(TOOLS)/ github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod
	go -C tools run ./release -check -dir .. -sbom $(TOOLS)/cyclonedx-gomod -targets $$(go env GOOS)/$$(go env GOARCH)

licenses: ## THIRD_PARTY_LICENSES.md anew, after a change of the requirements
	go -C tools run ./licenses -dir ..

vuln: ## known vulnerabilities in what we call; needs vuln.go.dev, and PENSTOCK_REQUIRE_VULNDB=1 fails without it
	go -C tools test -json -count=1 ./vulncheck | go -C tools run ./testsum
