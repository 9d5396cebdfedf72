# Everything that CI does, a laptop does by the same target. Needs Go, git and
# make, nothing else; `make test` is the one to run before a commit.

SHELL      := bash
.SHELLFLAGS := -euo pipefail -c
FUZZTIME   ?= 10s
BENCHFLAGS ?=
TOOLS      := $(CURDIR)/dist/tools

.PHONY: all build test verify bench fmt lint fuzz generate crash tools image release release-check licenses vuln

all: build

build: ## the program, as dist/penstock
	CGO_ENABLED=0 go build -trimpath -o dist/ ./cmd/penstock

test: lint ## all checks, all tests, a little fuzzing
	$(MAKE) --no-print-directory fuzz
	(go test -json -race -shuffle=on ./... || true; go -C tools test -json ./... || true; go -C tools/deploycheck test -json ./... || true) | $(TOOLS)/testsum

verify: ## the long form of test: nothing is left out
	$(MAKE) --no-print-directory fuzz FUZZTIME=60s
	go test -run '^$$' -bench . -benchtime 1x ./... >dist/bench-verify.txt
	$(MAKE) --no-print-directory crash
	$(MAKE) --no-print-directory release-check
	$(MAKE) --no-print-directory test

crash: ## kill the process at every step, many times
	PENSTOCK_LONG=1 go test ./internal/app -run Crash -count=1 -timeout 60m -v

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
	go -C tools mod tidy
	go -C tools/s3server mod tidy
	go -C tools/deploycheck mod tidy

generate: ## write the generated pages anew
	go test ./internal/clickfunnels -run '^TestEventsPage$$' -update
	go test ./internal/reference -run Generated -update

lint: tools ## what is wrong without running anything
	@bad=$$(gofmt -l $$(git ls-files '*.go' --cached --others --exclude-standard)); \
	test -z "$$bad" || { echo "not formatted, run make fmt:"; echo "$$bad"; exit 1; } >&2
	go mod tidy -diff
	go -C tools mod tidy -diff
	go -C tools/s3server mod tidy -diff
	go -C tools/deploycheck mod tidy -diff
	go vet ./...
	$(TOOLS)/staticcheck ./...
	go -C tools vet ./...
	go -C tools/deploycheck vet ./...
	GOOS=darwin GOARCH=arm64 go vet ./... # where power is synced otherwise
	GOOS=windows GOARCH=amd64 go build ./cmd/... ./examples/...
	go -C tools run ./licenses -dir .. -check

tools: # the module in tools keeps what only development needs out of go.mod
	@mkdir -p $(TOOLS)
	@go -C tools build -o $(TOOLS)/ honnef.co/go/tools/cmd/staticcheck ./testsum
	@go -C tools/s3server build -o $(TOOLS)/ github.com/versity/versitygw/cmd/versitygw

image: ## the container image penstock:<version>, by Docker
	version=$$(git describe --tags --always --dirty); \
	docker build -t penstock:$$version --build-arg VERSION=$$version \
		--build-arg REVISION=$$(git rev-parse HEAD) --build-arg CREATED=$$(git log -1 --format=%cI) .

RELEASE_TARGETS ?= linux/amd64,linux/arm64,darwin/amd64,darwin/arm64,windows/amd64

release: ## archives, manual, completions, SBOMs and checksums in dist/release
	@mkdir -p $(TOOLS)
	go -C tools build -o $(TOOLS)/ github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod
	go -C tools run ./release -dir .. -out ../dist/release -sbom $(TOOLS)/cyclonedx-gomod -targets $(RELEASE_TARGETS)

release-check: ## the commit, built twice in two folders, gives the same bytes
	@mkdir -p $(TOOLS)
	go -C tools build -o $(TOOLS)/ github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod
	go -C tools run ./release -check -dir .. -sbom $(TOOLS)/cyclonedx-gomod -targets $$(go env GOOS)/$$(go env GOARCH)

licenses: ## THIRD_PARTY_LICENSES.md anew, after a change of the requirements
	go -C tools run ./licenses -dir ..

vuln: ## known vulnerabilities in what we call; needs vuln.go.dev
	go -C tools test -json -count=1 ./vulncheck | go -C tools run ./testsum
