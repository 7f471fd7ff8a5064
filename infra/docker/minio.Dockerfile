# MinIO, built from source: its own images are no longer to be had. The build takes 7 minutes and 3 GB on two cores.
# Version and checksum are those of lakehouse/storage/minio.py and infra/installing/minio.py.
ARG GO_IMAGE=golang:1.26.8-bookworm
ARG BUSYBOX_IMAGE=busybox:1.37.0-musl


FROM ${GO_IMAGE} AS build
ARG MINIO_VERSION=v0.0.0-20260212201848-7aac2a2c5b7c
ARG MINIO_CHECKSUM=h1:/qdoYujxF5MBLDMVLeiYJ/7fBa1HikX39Dvzb9Ji8pA=
ENV CGO_ENABLED=0 \
    GOWORK=off
WORKDIR /build
RUN go mod download -json "github.com/minio/minio@${MINIO_VERSION}" > module.json \
    && grep --fixed-strings --quiet "\"Sum\": \"${MINIO_CHECKSUM}\"" module.json
# In the module's own folder, so with what its go.sum holds: `go install` of a version would not look there
RUN go build -C "$(go env GOMODCACHE)/github.com/minio/minio@${MINIO_VERSION}" \
    -mod=readonly -trimpath -ldflags="-s -w" -o /build/minio .
RUN mkdir /build/data


# Not from scratch: the health check asks by BusyBox's wget
FROM ${BUSYBOX_IMAGE}
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /build/minio /usr/local/bin/minio
COPY --from=build --chown=10001:10001 --chmod=0700 /build/data /var/lib/minio
ENV PATH=/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    MINIO_BROWSER=off \
    MINIO_UPDATE=off
WORKDIR /var/lib/minio
USER 10001:10001
