# syntax=docker/dockerfile:1
# Debian 12 has OpenJDK 17, which Spark 4 runs on.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY exporter exporter
RUN python -m venv /opt/dq-exporter && /opt/dq-exporter/bin/pip install --no-cache-dir '.[connect]'

FROM python:3.11-slim-bookworm
RUN apt-get update \
    && apt-get install -y --no-install-recommends openjdk-17-jre-headless procps tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/dq-exporter dq \
    && install -d -o dq -g dq /lake
COPY --from=build /opt/dq-exporter /opt/dq-exporter
ENV PATH=/opt/dq-exporter/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DQ_EXPORTER_CONFIG=/etc/dq-exporter/dq-exporter.yml
USER 10001
WORKDIR /var/lib/dq-exporter
VOLUME /var/lib/dq-exporter
EXPOSE 9818 9819
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9818/-/healthy', timeout=4)"]
ENTRYPOINT ["tini", "--", "dq-exporter"]
CMD ["run", "--web.listen-address", "0.0.0.0:9818"]
