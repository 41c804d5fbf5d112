# syntax=docker/dockerfile:1

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin keyferry && cp target/release/keyferry /keyferry

FROM debian:bookworm-slim
# The system's certificate authorities are what rustls trusts.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --create-home --home-dir /var/lib/keyferry keyferry
COPY --from=build /keyferry /usr/local/bin/keyferry
USER 10001:10001
# Where the embedded store lies by default.
WORKDIR /var/lib/keyferry
VOLUME /var/lib/keyferry
EXPOSE 8080 8081
ENTRYPOINT ["keyferry"]
CMD ["run"]
