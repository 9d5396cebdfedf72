# Everything that CI does, a laptop does by the same target. Needs Go, git and
# make, nothing else; `make test` is the one to run before a commit.

SHELL      := bash
.SHELLFLAGS := -euo pipefail -c
FUZZTIME   ?= 10s
BENCHFLAGS ?=
TOOLS      := $(CURDIR)/dist/tools

.PHONY: all build test verify bench fmt lint fuzz generate crash tools

all: build

build: ## the program, as dist/penstock
	CGO_ENABLED=0 go build -trimpath -o dist/ ./cmd/penstock

test: lint ## all checks, all tests, a little fuzzing
	$(MAKE) --no-print-directory fuzz
	(go test -json -race -shuffle=on ./... || true; go -C tools test -json ./... || true) | $(TOOLS)/testsum

verify: ## the long form of test: nothing is left out
	$(MAKE) --no-print-directory fuzz FUZZTIME=60s
	go test -run '^$$' -bench . -benchtime 1x ./... >dist/bench-verify.txt
	$(MAKE) --no-print-directory crash
	$(MAKE) --no-print-directory test

crash: ## kill the process at every step, upgrade a cluster, many times
	PENSTOCK_LONG=1 go test ./internal/app -run 'Crash|ExternalSetup' -count=1 -timeout 60m -v

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

generate: ## write the generated pages anew
	go test ./internal/clickfunnels -run '^TestEventsPage$$' -update
	go test ./internal/reference -run Generated -update

lint: tools ## what is wrong without running anything
	@bad=$$(gofmt -l $$(git ls-files '*.go' --cached --others --exclude-standard)); \
	test -z "$$bad" || { echo "not formatted, run make fmt:"; echo "$$bad"; exit 1; } >&2
	go mod tidy -diff
	go -C tools mod tidy -diff
	go -C tools/s3server mod tidy -diff
	go vet ./...
	$(TOOLS)/staticcheck ./...
	go -C tools vet ./...

tools: # the module in tools keeps what only development needs out of go.mod
	@mkdir -p $(TOOLS)
	@go -C tools build -o $(TOOLS)/ honnef.co/go/tools/cmd/staticcheck ./testsum
	@go -C tools/s3server build -o $(TOOLS)/ github.com/versity/versitygw/cmd/versitygw
