# The inferd image for NVIDIA GPUs. From the root of the repository:
#
#   docker build -f deploy/docker/cuda.Dockerfile -t inferd:cuda .
#
# Of CUDA it holds the one library that is used, cuBLASLt (540 MB of 670); the runtime is linked
# into libinferd_cuda.so, and the driver comes from the host through NVIDIA's container
# toolkit. Without a GPU the image serves on the CPU. docs/gpu-status.md says what has run.
ARG BASE=docker.io/library/debian:12-slim
ARG CUDA=docker.io/nvidia/cuda:13.0.1-devel-ubuntu24.04

FROM ${CUDA} AS cuda

# ---- the Debian package and the library, compiled from this source ----
FROM ${BASE} AS package
# A package and a libinferd_cuda.so that have already been built, as paths in the build
# context, instead of compiling. Our own checks use them; they must come from the same
# release of Debian.
ARG PREBUILT=""
ARG PREBUILT_CUDA=""
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
# The toolkit is mounted, not copied: it is several times the size of all else.
RUN --mount=type=bind,from=cuda,source=/usr/local/cuda,target=/usr/local/cuda \
    mkdir /out && \
    if [ -n "$PREBUILT" ]; then \
      cp "$PREBUILT" /out/inferd.deb && \
      cp "$PREBUILT_CUDA" /out/libinferd_cuda.so; \
    else \
      cmake -S . -B /build -G Ninja -DCMAKE_BUILD_TYPE=Release \
        -DINFERD_TESTS=OFF -DINFERD_BENCHMARKS=OFF -DINFERD_CUDA=ON && \
      ninja -C /build inferd inferd_man inferd_cuda && \
      (cd /build && cpack) && \
      cp /build/package/inferd_*.deb /out/inferd.deb && \
      strip -o /out/libinferd_cuda.so /build/bin/libinferd_cuda.so; \
    fi && \
    cp deploy/docker/sbom.sh configs/container.yaml /out/

# ---- what runs ----
FROM ${BASE}
ARG VERSION="0.1.0"
ARG REVISION=""
ARG CREATED=""
LABEL org.opencontainers.image.title="inferd" \
      org.opencontainers.image.description="Inference daemon for large language models, on NVIDIA GPUs" \
      org.opencontainers.image.licenses="Apache-2.0 AND LicenseRef-NVIDIA-CUDA-EULA" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"

RUN --mount=type=bind,from=package,source=/out,target=/out \
    --mount=type=bind,from=cuda,source=/usr/local/cuda,target=/cuda \
    apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends /out/inferd.deb && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/apt \
      /var/log/dpkg.log /var/log/alternatives.log && \
    install -D -m 0644 /out/libinferd_cuda.so /usr/lib/inferd/libinferd_cuda.so && \
    install -m 0644 /cuda/lib64/libcublasLt.so.13 /usr/lib/inferd/libcublasLt.so.13 && \
    echo /usr/lib/inferd > /etc/ld.so.conf.d/inferd.conf && ldconfig && \
    install -m 0644 /out/container.yaml /etc/inferd/config.yaml && \
    chmod 0755 /etc/inferd && \
    install -d -o 10001 -g 0 -m 0775 /var/cache/inferd /models && \
    version="$(sed -nE 's/^#define CUBLAS_VER_(MAJOR|MINOR|PATCH|BUILD) +([0-9]+).*/\2/p' \
      /cuda/include/cublas_api.h | paste -sd.)" && \
    sh /out/sbom.sh "libcublaslt $version amd64 cuda" > /usr/share/inferd/sbom.spdx.json

# What the container toolkit is to bring of the driver.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
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
