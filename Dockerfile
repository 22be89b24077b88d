# syntax=docker/dockerfile:1
# Gatehouse as a container: a virtual environment, built in one image and copied into a bare one.
#
#   docker build --tag gatehouse .
#   docker run --read-only --volume gatehouse-data:/data --publish 127.0.0.1:8000:8000 \
#     --env GATEHOUSE_CLICKHOUSE_URL=clickhouse://user:password@host:9000/plausible gatehouse

ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
# "[embedded]" brings ClickHouse into the process, and some 500 MB into the image.
ARG EXTRAS=""
RUN python -m venv /opt/gatehouse
WORKDIR /build
# Only what was pinned is installed, each file of it checked by its hash (`make lock`).
COPY requirements ./requirements
RUN pip install --no-cache-dir --require-hashes --requirement requirements/build.lock \
    && if [ -n "${EXTRAS}" ]; then lock=embedded; else lock=run; fi \
    && /opt/gatehouse/bin/pip install --no-cache-dir --require-hashes --requirement "requirements/${lock}.lock"
COPY pyproject.toml README.md ./
COPY service ./service
COPY actors ./actors
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/gatehouse/bin/pip install --no-cache-dir --no-deps /wheels/*.whl

FROM python:${PYTHON}
# A number, so that an orchestrator can see that it is not root; /data is the only place it writes to.
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin gatehouse \
    && install --directory --owner=gatehouse --group=gatehouse --mode=0700 /data
COPY --from=build /opt/gatehouse /opt/gatehouse
ENV PATH=/opt/gatehouse/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    GATEHOUSE_DATA_DIR=/data \
    GATEHOUSE_LISTEN=0.0.0.0:8000 \
    GATEHOUSE_STORE=native
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
# Alive, not ready: while the database is away the journal takes the events, and a restart would help nobody.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/api/system/health/live', timeout=2)"]
ENTRYPOINT ["gatehouse"]
CMD ["serve"]
