# The gate in an image that holds nothing but the binary, the C library it was built with, and settings.
#
#   docker build -t namegate .
#   docker run --rm --read-only --cap-drop ALL --security-opt no-new-privileges -p 127.0.0.1:1053:1053/udp namegate

FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /build

# Writes into the binary what it was built from, for whoever looks for vulnerabilities in an image.
RUN cargo install --quiet --locked --version =0.7.7 cargo-auditable

# The dependencies have a layer of their own, which lasts until Cargo.toml or Cargo.lock change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src benches \
 && echo 'fn main() {}' | tee src/main.rs > benches/trie.rs \
 && touch src/lib.rs \
 && cargo auditable build --locked --release

# Settings and allowlists are built in. The stubs above are newer than the files copied over them.
COPY src src
COPY zones zones
COPY config/*.toml config/
RUN touch src/main.rs src/lib.rs && cargo auditable build --locked --release

# The image's files: the binary, the loader and libraries that ldd names, and the certificate authorities that encrypted
# upstreams are verified by. Nothing else is loaded later.
RUN install -D target/release/namegate /image/usr/bin/namegate \
 && ldd target/release/namegate | grep -o '/[^ ]*' | xargs cp --parents --dereference --target-directory=/image \
 && cp --parents --dereference /etc/ssl/certs/ca-certificates.crt /image

FROM scratch
LABEL org.opencontainers.image.title="namegate" \
      org.opencontainers.image.description="A DNS resolver for networks that must not resolve everything" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /image /
COPY config/compose/namegate.toml /etc/namegate/namegate.toml

# No user has a name here, and none needs a capability: the settings listen on port 1053, and publishing makes it 53
# (`-p 10.0.0.4:53:1053/udp`). Where nothing is published, as with the host's network, NAMEGATE_LISTEN=0.0.0.0:53 needs
# net.ipv4.ip_unprivileged_port_start at 53 or less. A capability on the file would not do: no-new-privileges ignores it,
# and with all capabilities dropped the kernel refuses to start such a file.
USER 65532:65532
EXPOSE 1053/udp 1053/tcp 9153/tcp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s CMD ["/usr/bin/namegate", "healthcheck"]
ENTRYPOINT ["/usr/bin/namegate"]
