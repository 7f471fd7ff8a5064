# LocalStack, the stand-in for AWS: the last line that needs no account, started by our launcher, with an executor that
# runs functions as processes of this container. No Docker socket.
ARG PYTHON_IMAGE=python:3.13.14-slim-bookworm
# Functions are packaged for the platform's own Python, so they run on that
ARG LAMBDA_PYTHON_IMAGE=python:3.11.15-slim-bookworm


FROM ${LAMBDA_PYTHON_IMAGE} AS lambda-python


FROM ${PYTHON_IMAGE} AS base
COPY --from=lambda-python /usr/local /opt/python3.11
RUN groupadd --gid 10001 localstack \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin localstack \
    && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/localstack
ENV PATH=/opt/localstack/.venv/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1


FROM base AS build
WORKDIR /build
COPY infra/locks/uv.lock infra/locks/localstack.lock infra/locks/lambda.lock ./
RUN python3.13 -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir --require-hashes --requirement uv.lock
ENV PATH=/opt/uv/bin:${PATH} \
    UV_CACHE_DIR=/var/cache/uv \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never \
    UV_SYSTEM_CERTS=true
RUN --mount=type=cache,target=/var/cache/uv \
    uv venv --python python3.13 /opt/localstack/.venv \
    && uv pip sync --python /opt/localstack/.venv --compile-bytecode \
        --require-hashes --build-constraint localstack.lock localstack.lock \
    && uv venv --python /opt/python3.11/bin/python3.11 /opt/lambda/.venv \
    && uv pip sync --python /opt/lambda/.venv --compile-bytecode --require-hashes lambda.lock \
    && chmod -R go-w /opt/localstack /opt/lambda


FROM base
COPY --from=build /opt/localstack /opt/localstack
COPY --from=build /opt/lambda /opt/lambda
COPY infra/__init__.py /opt/localstack/infra/__init__.py
COPY infra/localstack /opt/localstack/infra/localstack
# The launcher listens where GATEWAY_LISTEN says; what lies in FILESYSTEM_ROOT is forgotten with the process
ENV PYTHONPATH=/opt/localstack \
    LAMBDA_PYTHON=/opt/lambda/.venv/bin/python \
    GATEWAY_LISTEN=0.0.0.0:4566 \
    FILESYSTEM_ROOT=/var/lib/localstack \
    DNS_ADDRESS=0 \
    DISABLE_EVENTS=1 \
    SKIP_SSL_CERT_DOWNLOAD=1 \
    EAGER_SERVICE_LOADING=0 \
    LAMBDA_SYNCHRONOUS_CREATE=1
WORKDIR /var/lib/localstack
USER 10001:10001
