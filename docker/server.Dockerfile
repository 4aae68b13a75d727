# The API, the worker, and what fetches releases for a Triton: one image, several commands.
ARG PYTHON=python:3.12.13-slim-bookworm

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=1
RUN ["python", "-m", "venv", "/opt/venv"]
WORKDIR /build
COPY pyproject.toml ./
COPY requirements/constraints.txt requirements/
COPY client client
COPY orchestrator orchestrator
# For containers beside Triton: export/releases fetches releases and follows what is live.
COPY export export
# A package index of your own: docker build --secret id=pip.conf,src=…
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    /opt/venv/bin/python -m pip install -c requirements/constraints.txt './client[triton]' '.[c2pa,otel,sentry]' \
    # For linking programs in Rust, 31 MB.
    && find /opt/venv/lib -name libc2pa_c.rlib -delete \
    && /opt/venv/bin/python -m compileall -q /opt/venv/lib

FROM ${PYTHON}
LABEL org.opencontainers.image.title="reroom server" \
      org.opencontainers.image.description="The API and the worker that restyle photos of rooms" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# libseccomp filters the system calls of the processes that decode strangers' photos. Debian keeps no older version that
# could be pinned.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends libseccomp2 && rm -rf /var/lib/apt/lists/*
# The folder's owner becomes that of a volume that is mounted there for the first time.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin reroom \
    && install --directory --owner=reroom --group=reroom --mode=0750 /var/lib/reroom /var/lib/reroom-served
COPY --from=build /opt/venv /opt/venv
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
CMD ["python", "-m", "orchestrator.app"]
