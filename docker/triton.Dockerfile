# NVIDIA's Triton with the models that are code, one release, and the packages that they run on.
# The tag stands here alone; README.md has the versions in it and why it is this one.
ARG TRITON=nvcr.io/nvidia/tritonserver:25.12-py3

FROM ${TRITON}
ARG BUNDLE=dollhouse
LABEL org.opencontainers.image.title="reroom triton" \
      org.opencontainers.image.description="Triton Inference Server with reroom's models and the bundle ${BUNDLE}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY requirements/serving.txt requirements/onnxruntime.txt requirements/plan.txt /opt/reroom/requirements/
# An environment of its own: what the image has, some of it from Debian packages that pip cannot replace, stays as it is.
# Of onnxruntime.txt nothing is served, since the image's own backend brings another: plans are compared with it.
# A package index of your own: docker build --secret id=pip.conf,src=…
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python3 -m venv --without-pip /opt/reroom/python \
    && python3 -m pip --python /opt/reroom/python/bin/python install --no-cache-dir --root-user-action=ignore \
        --no-deps --only-binary=:all: -r /opt/reroom/requirements/serving.txt \
        -r /opt/reroom/requirements/onnxruntime.txt -r /opt/reroom/requirements/plan.txt
# The folder's owner becomes that of a volume that is mounted there for the first time.
RUN install --directory --owner=10001 --group=10001 --mode=0750 /var/lib/reroom-served /var/lib/reroom-plans
COPY stack/tritonserver.options stack/watch_triton.py export/releases/checksums.py docker/serve_triton.sh \
    docker/plan_triton.sh /opt/reroom/
COPY export /opt/reroom/export
COPY model_repository /opt/reroom/model_repository
COPY releases/${BUNDLE} /opt/reroom/releases/${BUNDLE}
# The process of a Python model finds its packages through the first python on PATH; it does not look at PYTHONPATH.
ENV REROOM_RELEASE=/opt/reroom/releases/${BUNDLE} \
    REROOM_PLANS=/var/lib/reroom-plans \
    PATH=/opt/reroom/python/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000 8001 8002
# NVIDIA's entry point stays: it checks the driver and then runs this.
CMD ["/bin/sh", "/opt/reroom/serve_triton.sh"]
