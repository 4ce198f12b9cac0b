# The inferd image for CPUs. From the root of the repository:
#
#   docker build -f deploy/docker/cpu.Dockerfile -t inferd .
#
# cuda.Dockerfile is the image for GPUs.
ARG BASE=docker.io/library/debian:12-slim

# ---- the Debian package, compiled from this source ----
FROM ${BASE} AS package
# A package that `./dev package` has already made, as a path in the build context,
# instead of compiling. Our own checks use it; its binary must come from the same release of
# Debian.
ARG PREBUILT=""
RUN if [ -z "$PREBUILT" ]; then \
      apt-get update && \
      DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        g++ cmake ninja-build pkg-config mold git ca-certificates dpkg-dev file python3 \
        libgrpc++-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc grpc-proto \
        libspdlog-dev libyaml-cpp-dev libcli11-dev nlohmann-json3-dev libpcre2-dev \
        libutf8proc-dev libhwy-dev libcpp-httplib-dev prometheus-cpp-dev \
        libssl-dev; \
    fi
WORKDIR /src
COPY . .
RUN mkdir /out && \
    if [ -n "$PREBUILT" ]; then \
      cp "$PREBUILT" /out/inferd.deb; \
    else \
      cmake -S . -B /build -G Ninja -DCMAKE_BUILD_TYPE=Release \
        -DINFERD_TESTS=OFF -DINFERD_BENCHMARKS=OFF && \
      ninja -C /build inferd inferd_man && \
      (cd /build && cpack) && \
      cp /build/package/inferd_*.deb /out/inferd.deb; \
    fi && \
    cp deploy/docker/sbom.sh configs/container.yaml /out/

# ---- what runs ----
FROM ${BASE}
ARG VERSION="0.1.0"
ARG REVISION=""
ARG CREATED=""
LABEL org.opencontainers.image.title="inferd" \
      org.opencontainers.image.description="Inference daemon for large language models, on the CPU" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"

# The package brings exactly the libraries that its binary was linked with. The list of
# everything inside is in /usr/share/inferd/sbom.spdx.json.
RUN --mount=type=bind,from=package,source=/out,target=/out \
    apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends /out/inferd.deb && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/apt \
      /var/log/dpkg.log /var/log/alternatives.log && \
    install -m 0644 /out/container.yaml /etc/inferd/config.yaml && \
    chmod 0755 /etc/inferd && \
    install -d -o 10001 -g 0 -m 0775 /var/cache/inferd /models && \
    sh /out/sbom.sh > /usr/share/inferd/sbom.spdx.json

# Group 0, so that platforms which choose the user themselves can run it as well.
USER 10001:0
WORKDIR /
# 50051: gRPC, the OpenAI API and /metrics. 9091: the side port, when it is not on loopback.
EXPOSE 50051 9091
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=15m --retries=3 \
  CMD ["/usr/bin/inferd", "health", "--addr", "127.0.0.1:50051", "--timeout", "2"]
ENTRYPOINT ["/usr/bin/inferd"]
CMD ["serve", "--config", "/etc/inferd/config.yaml"]
