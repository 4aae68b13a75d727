# NVIDIA's Triton with the models that are code, one release, and the packages that they run on.
# The tag stands here alone; README.md has the versions in it and why it is this one.
ARG TRITON=nvcr.io/nvidia/tritonserver:25.12-py3

FROM ${TRITON}
ARG BUNDLE=dollhouse
LABEL org.opencontainers.image.title="reroom triton" \
      org.opencontainers.image.description="Triton Inference Server with reroom's models and the bundle ${BUNDLE}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY requirements/serving.txt /opt/reroom/requirements/serving.txt
# Into a folder of its own: what the image has, some of it from Debian packages that pip cannot replace, stays as it is.
# onnxruntime is among them and not used here: the backend in the image brings its own.
# A package index of your own: docker build --secret id=pip.conf,src=…
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python3 -m pip install --no-cache-dir --disable-pip-version-check --no-deps --only-binary=:all: \
        --target /opt/reroom/python -r /opt/reroom/requirements/serving.txt
COPY servers/tritonserver.options docker/serve_triton.sh /opt/reroom/
COPY model_repository /opt/reroom/model_repository
COPY releases/${BUNDLE} /opt/reroom/releases/${BUNDLE}
# PYTHONPATH comes before the image's own packages: numpy must be the one of serving.txt.
ENV REROOM_RELEASE=/opt/reroom/releases/${BUNDLE} \
    PYTHONPATH=/opt/reroom/python \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000 8001 8002
# NVIDIA's entry point stays: it checks the driver and then runs this.
CMD ["/bin/sh", "/opt/reroom/serve_triton.sh"]
