# The sandbox's image where a registry is at hand. Without one, docker/build-sandbox-image makes the same contents.
# Build from the folder docker/: docker build -f sandbox.Dockerfile -t chanote-sandbox .
FROM debian:bookworm-slim AS root
COPY sandbox-packages.txt fit-sandbox-root /build/
RUN apt-get update \
 && apt-get install -y --no-install-recommends $(cat /build/sandbox-packages.txt) \
 && cp /build/fit-sandbox-root /fit && rm -rf /build && sh /fit && rm /fit
FROM scratch
COPY --from=root / /
