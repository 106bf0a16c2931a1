# The sandbox's image where a registry is at hand. Without one, docker/build-sandbox-image makes the same contents;
# docker/compare_sandbox_images.py shows whether two images do have the same. Build it from the repository:
#
#   docker build -f docker/sandbox.Dockerfile -t chanote-sandbox docker
#
# BASE may be any minimal root of the same suite, for example one of debootstrap that was imported.
ARG BASE=debian:bookworm-slim
FROM ${BASE} AS root
COPY sandbox-packages.txt fit-sandbox-root /build/
RUN apt-get update \
 && apt-get install -y --no-install-recommends $(cat /build/sandbox-packages.txt) \
 && cp /build/fit-sandbox-root /fit && rm -rf /build && sh /fit && rm /fit
FROM scratch
COPY --from=root / /
