# Tasks for people who change the code; `.ci/run` uses the same ones. `just` lists them.

# List the tasks
default:
    @just --list

# Run the resolver with its built-in settings
run *ARGUMENTS:
    cargo run --release --locked -- {{ ARGUMENTS }}

# Check formatting and lints
lint:
    cargo fmt --check
    cargo clippy --locked --all-targets -- --deny warnings

# Run the tests
test *ARGUMENTS:
    cargo test --locked {{ ARGUMENTS }}

# Rewrite the generated files: settings, metrics, and the snapshots of the interface
generate:
    UPDATE_DOCS=1 cargo test --locked --test black_box -- every_option documented
    UPDATE_EXPECT=1 cargo test --locked --test black_box -- interface

# Build the API documentation; warnings are errors
rustdoc:
    RUSTDOCFLAGS="--deny warnings" cargo doc --locked --no-deps --document-private-items

# Build the documentation as a book, in target/book
book:
    mdbook build

# Build what a package needs (binary, debug symbols, SBOM, man pages, completions), in target/dist; needs cargo-auditable, cargo-cyclonedx
dist: && _sbom
    #!/usr/bin/env bash
    set -euo pipefail
    target=${CARGO_TARGET_DIR:-target} dist=${CARGO_TARGET_DIR:-target}/dist
    rm -rf "$dist" && mkdir -p "$dist/man" "$dist/completions"
    export CARGO_PROFILE_RELEASE_STRIP=none CARGO_PROFILE_RELEASE_DEBUG=line-tables-only
    cargo auditable build --locked --release
    objcopy --only-keep-debug "$target/release/namegate" "$dist/namegate.debug"
    objcopy --strip-all --add-gnu-debuglink="$dist/namegate.debug" "$target/release/namegate" "$dist/namegate"
    "$dist/namegate" man "$dist/man"
    for shell in bash fish zsh; do "$dist/namegate" completions "$shell" > "$dist/completions/namegate.$shell"; done

# Build the Debian package in target/dist; needs cargo-deb
deb: dist
    #!/usr/bin/env bash
    set -euo pipefail
    dist=${CARGO_TARGET_DIR:-target}/dist
    # cargo-deb looks for its files here, wherever cargo builds.
    rm -rf target/package && mkdir -p target && cp -r "$dist" target/package
    cargo deb --locked --no-build --no-strip --output "$dist"

# The crates of the binary in target/dist as a CycloneDX SBOM, the same for the same commit
_sbom:
    #!/usr/bin/env bash
    set -euo pipefail
    dist=${CARGO_TARGET_DIR:-target}/dist
    target=$("$dist/namegate" --version | sed 's/.*, \(.*\))/\1/')
    # It is written beside Cargo.toml. It takes what Cargo.lock says, which the build before it has held to Cargo.toml.
    trap 'rm -f namegate_bin.cdx.json' EXIT
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) cargo cyclonedx --quiet --quiet --format json --spec-version 1.5 \
        --describe binaries --target "$target"
    # Where it was built is no part of it. Cargo leaves out the name if the directory has it.
    sed -E "s|path\+file://$PWD#(namegate@)?|namegate@|g" namegate_bin.cdx.json > "$dist/namegate.cdx.json"

# Build the files of a release, with their checksums, in target/dist/release
release: deb _archive

# The files of a release, from those that `dist` and `deb` have built; the same for the same commit
_archive:
    #!/usr/bin/env bash
    set -euo pipefail
    dist=${CARGO_TARGET_DIR:-target}/dist
    [[ $("$dist/namegate" --version) =~ ^namegate\ ([^ ]+)\ \(.*,\ (.*)\)$ ]]
    name=namegate-${BASH_REMATCH[1]}-${BASH_REMATCH[2]} release=$dist/release
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    rm -rf "$release" && mkdir -p "$release" "$work/debug/$name" "$work/$name/config"
    cp -r "$dist"/{namegate,namegate.cdx.json,man,completions} README.md CHANGELOG.md LICENSE-* "$work/$name"
    cp -r --parents config/*.toml config/systemd config/prometheus/{alerts,rules}.yml "$work/$name"
    # Unpacked at the same place, the symbols are beside the binary, where debuggers look for them.
    cp "$dist/namegate.debug" "$work/debug/$name"
    archive() {
        tar --create --directory "$1" --format=gnu --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
            --mtime="@$(git log -1 --format=%ct)" "$name" | gzip -n > "$2"
    }
    archive "$work" "$release/$name.tar.gz"
    archive "$work/debug" "$release/$name-debug.tar.gz"
    cp "$dist/namegate.cdx.json" "$release/$name.cdx.json"
    cp "$dist"/namegate_*.deb "$release"
    cd "$release" && sha256sum -- *.* > SHA256SUMS

# Sign each file in target/dist/release with minisign and a key without a password (`minisign -G -W`)
sign KEY:
    #!/usr/bin/env bash
    set -euo pipefail
    key=$(realpath '{{ KEY }}') version=$({{ just_executable() }} version)
    cd "${CARGO_TARGET_DIR:-target}/dist/release"
    rm -f -- *.minisig
    for file in *; do minisign -S -s "$key" -m "$file" -t "$file of namegate $version" > /dev/null; done

# Print the version in Cargo.toml
version:
    @sed -n '/^version = /{ s/.*"\(.*\)"/\1/p; q }' Cargo.toml

# Print what CHANGELOG.md says about a version, or `Unreleased`
notes VERSION:
    #!/usr/bin/env bash
    set -euo pipefail
    notes=$(awk -v heading='## {{ VERSION }}' '/^## / { shown = $0 == heading || index($0, heading " ") == 1; next } shown' CHANGELOG.md)
    if [[ -z ${notes//[[:space:]]/} ]]; then echo "CHANGELOG.md has no section \`## {{ VERSION }}\`" >&2; exit 1; fi
    printf '%s\n' "$notes"

# Check a commit message: `area: what changes`, at most 72 characters
commit-msg FILE:
    #!/usr/bin/env bash
    set -euo pipefail
    subject=$(grep -v '^#' '{{ FILE }}' | head -n 1)
    case $subject in fixup!*|squash!*|Merge*|Revert*) exit 0 ;; esac
    if ((${#subject} > 72)); then echo "subject has ${#subject} characters, at most 72" >&2; exit 1; fi
    if ! [[ $subject =~ ^[a-z0-9./_-]+:\ [a-z] ]]; then echo "write the subject as \`area: what changes\`: $subject" >&2; exit 1; fi
    if [[ $subject == *. ]]; then echo "leave out the full stop: $subject" >&2; exit 1; fi

# Check each commit message before it is made
hooks:
    printf '#!/bin/sh\nexec just commit-msg "$1"\n' > "$(git rev-parse --git-path hooks)/commit-msg"
    chmod +x "$(git rev-parse --git-path hooks)/commit-msg"

# Run everything that must pass before a change lands
ci:
    .ci/run
