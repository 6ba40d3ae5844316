# make        what a reviewer runs: lint, then test
# make demo   starts a local context and shows what it can do; HOST=user@host: the same there, over ssh
# make test   all that this machine can run; ends with what it left out, and why
# make lint   rustfmt, clippy, rustdoc, and builds for other systems and with the oldest Rust
# make bench  this library, Mitogen, execnet and the plain tools on the same work: a table, and JSON lines in
#             target/bench.jsonl. Fetches the two from PyPI once. QUICK=1: a small part, and fetches nothing;
#             ONLY='start calls chain bulk fleet memory': some of its sections
# make bench-modules  the first calls of applications of PyPI, beside the same import from local disk and beside
#             Mitogen's: a table, and JSON lines in target/bench-modules.jsonl. QUICK=1: one run of each, and
#             fetches no Mitogen; ONLY='django rich': some of them
# make static the demo as one static binary for any Linux (musl), its size and what ldd says; HOST as above
# make size   bytes of what a child is sent; lines and unsafe blocks of what sends it

.PHONY: all bench bench-modules demo lint size static test

all: lint test

demo:
	cargo run --quiet --release --example demo -- $(HOST)

static:
	@.ci/static $(HOST)

lint:
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --no-deps
	@.ci/elsewhere

test:
	@.ci/test

bench:
	cargo bench --bench peers -- $(if $(QUICK),quick) $(ONLY)

bench-modules:
	cargo bench --bench modules -- $(if $(QUICK),quick) $(ONLY)

size:
	@.ci/size
