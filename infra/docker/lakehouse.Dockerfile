# The platform's own images:
#   docker build --file infra/docker/lakehouse.Dockerfile --target web|worker|sandbox|functions .
# None has a command of its own: docker-compose.yml says what runs in each.
# To pin the base by digest too: --build-arg PYTHON_IMAGE=python:...@sha256:...
ARG PYTHON_IMAGE=python:3.11.15-slim-bookworm


FROM ${PYTHON_IMAGE} AS base
# Nobody's number outside, and the owner of data and sockets: a new volume takes over the folder's owner and mode
RUN groupadd --gid 10001 lakehouse \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin lakehouse \
    && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/lakehouse /run/lakehouse
# The root may be read-only: only /tmp and those two folders are written
ENV PATH=/opt/lakehouse/.venv/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1


FROM base AS java
RUN apt-get update \
    && apt-get install --yes --no-install-recommends openjdk-17-jre-headless \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log


# What is needed to build, and stays behind: uv and Java, which fetches Spark's jars
FROM java AS build
WORKDIR /build
COPY infra/locks/uv.lock infra/locks/uv.lock
RUN python3.11 -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir --require-hashes --requirement infra/locks/uv.lock
ENV PATH=/opt/uv/bin:${PATH} \
    VIRTUAL_ENV=/opt/lakehouse/.venv \
    UV_CACHE_DIR=/var/cache/uv \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never \
    UV_SYSTEM_CERTS=true
COPY pyproject.toml requirements.lock infra/docker/install.sh ./
RUN uv venv --python python3.11 "${VIRTUAL_ENV}"


FROM build AS web-environment
RUN --mount=type=cache,target=/var/cache/uv sh install.sh --group web


FROM build AS sandbox-environment
RUN --mount=type=cache,target=/var/cache/uv sh install.sh --group sandbox


FROM build AS worker-environment
RUN --mount=type=cache,target=/var/cache/uv sh install.sh pyproject.toml
COPY infra/__init__.py infra/__init__.py
COPY infra/installing infra/installing
COPY infra/spark infra/spark
COPY lakehouse/__init__.py lakehouse/cache.py lakehouse/
COPY lakehouse/engines/__init__.py lakehouse/engines/jars.py lakehouse/engines/
COPY lakehouse/market/__init__.py lakehouse/market/errors.py lakehouse/market/
RUN LAKEHOUSE_CACHE_DIR=/var/cache/lakehouse "${VIRTUAL_ENV}/bin/python" -m infra.installing.jars


# The platform's code, last of all: it changes most often
FROM build AS code
COPY LICENSE ./
COPY lakehouse lakehouse
COPY functions functions
COPY gradio_app gradio_app
RUN --mount=type=cache,target=/var/cache/uv \
    uv build --wheel --require-hashes --build-constraint requirements.lock --out-dir /tmp/wheel \
    && uv pip install --compile-bytecode --no-deps /tmp/wheel/*.whl \
    && chmod -R go-w "${VIRTUAL_ENV}"


# The functions' package, made of the code where `infra` looks for it: beside itself
FROM build AS functions-package
RUN --mount=type=cache,target=/var/cache/uv sh install.sh --group functions --group deploy
# The code as it is installed says its version
COPY --from=code /opt/lakehouse/.venv/lib /opt/lakehouse/.venv/lib
WORKDIR /opt/lakehouse
COPY pyproject.toml ./
COPY infra infra
COPY lakehouse lakehouse
COPY functions functions
RUN --mount=type=cache,target=/var/cache/uv \
    LAKEHOUSE_CACHE_DIR=/tmp/cache "${VIRTUAL_ENV}/bin/python" -m infra.aws.package


# Pages and API
FROM base AS web
COPY --from=web-environment /opt/lakehouse /opt/lakehouse
COPY --from=code /opt/lakehouse/.venv/lib /opt/lakehouse/.venv/lib
ENV LAKEHOUSE_DATA_DIR=/var/lib/lakehouse \
    LAKEHOUSE_CACHE_DIR=/var/cache/lakehouse
WORKDIR /var/lib/lakehouse
USER 10001:10001


# The runner of analysts' programs: no settings, for it reads none
FROM base AS sandbox
COPY --from=sandbox-environment /opt/lakehouse /opt/lakehouse
COPY --from=code /opt/lakehouse/.venv/lib /opt/lakehouse/.venv/lib
WORKDIR /var/lib/lakehouse
USER 10001:10001


# All the rest: the command `lakehouse`, jobs, and the masters and workers of Spark and Dask
FROM java AS worker
COPY --from=worker-environment /opt/lakehouse /opt/lakehouse
COPY --from=worker-environment /var/cache/lakehouse/jars /var/cache/lakehouse/jars
COPY --from=code /opt/lakehouse /opt/lakehouse
ENV LAKEHOUSE_DATA_DIR=/var/lib/lakehouse \
    LAKEHOUSE_CACHE_DIR=/var/cache/lakehouse
WORKDIR /var/lib/lakehouse
USER 10001:10001


# Deploys the functions to AWS or LocalStack: the package is in build/, Chalice beside it
FROM base AS functions
COPY --from=functions-package /opt/lakehouse /opt/lakehouse
WORKDIR /opt/lakehouse
USER 10001:10001
