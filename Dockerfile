# namegate in a minimal image: the binary, the libraries it needs, CA certificates and settings. Nothing here depends on the
# processor: `docker buildx build --platform linux/arm64 .` builds the same for another one.
#
#   docker build -t namegate .
#   docker run --rm --read-only --cap-drop ALL --security-opt no-new-privileges -p 127.0.0.1:1053:1053/udp namegate

FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /build

# Embeds the dependency list in the binary, for vulnerability scanners.
RUN cargo install --quiet --locked --version =0.7.7 cargo-auditable

# Dependencies get their own layer, which is cached until Cargo.toml or Cargo.lock change. Cargo asks for the files of tests
# and benchmarks even where it does not build them, so they are taken out.
COPY Cargo.toml Cargo.lock build.rs ./
RUN sed -i -e '/^\[\[test\]\]/,/^$/d' -e '/^\[\[bench\]\]/,/^$/d' Cargo.toml \
 && mkdir src \
 && echo 'fn main() {}' > src/main.rs \
 && touch src/lib.rs \
 && cargo auditable build --locked --release

# `namegate --version` prints it: `docker build --build-arg COMMIT=$(git rev-parse --short=9 HEAD) .`
ARG COMMIT=
ENV NAMEGATE_COMMIT=$COMMIT

# Settings and allowlists are built in. `touch` is needed because the stubs above are newer than the copied files.
COPY src src
COPY zones zones
COPY config/*.toml config/
RUN touch src/main.rs src/lib.rs && cargo auditable build --locked --release

# The image's files: the binary, the loader and libraries that ldd lists, and the certificate authorities for encrypted
# upstreams. Nothing else is loaded at run time.
RUN install -D target/release/namegate /image/usr/bin/namegate \
 && ldd target/release/namegate | grep -o '/[^ ]*' | xargs cp --parents --dereference --target-directory=/image \
 && cp --parents --dereference /etc/ssl/certs/ca-certificates.crt /image

FROM scratch
ARG COMMIT=
LABEL org.opencontainers.image.title="namegate" \
      org.opencontainers.image.description="A DNS resolver that answers only what you allow" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="$COMMIT" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /image /
COPY config/compose/namegate.toml /etc/namegate/namegate.toml

# The user has no name here and needs no capability: the settings listen on port 1053; publish it as port 53
# (`-p 10.0.0.4:53:1053/udp`). With the host's network, which publishes no ports, NAMEGATE_LISTEN=0.0.0.0:53 needs
# net.ipv4.ip_unprivileged_port_start at 53 or less. A file capability would not help: no-new-privileges ignores it, and
# with all capabilities dropped the kernel refuses to start such a file.
USER 65532:65532
EXPOSE 1053/udp 1053/tcp 9153/tcp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s CMD ["/usr/bin/namegate", "healthcheck"]
ENTRYPOINT ["/usr/bin/namegate"]
