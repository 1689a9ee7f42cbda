# An image of Retable for workers with GPUs, and for every other command.
#
#   docker build --tag retable:0.1.0 .
#   docker run --rm --init --gpus device=0 --shm-size 8g --stop-timeout 90 --env RETABLE_STORAGE \
#       --volume /shared/images:/data:ro --volume /shared/retable:/srv/retable retable:0.1.0
#   docker run --rm --env RETABLE_STORAGE retable:0.1.0 status
#
# The folder that holds /srv/retable belongs to the user 10001.
#
# CI checks this file with hadolint and does not build the image.
#
# The base has no CUDA: torch's packages bring the CUDA libraries that they were built with, and NVIDIA's container
# toolkit adds the driver. `constraints.txt` pins all libraries to the releases that the tests passed with.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/retable
ENV PATH=/opt/retable/bin:$PATH
# First the libraries, for a distribution that has no packages yet: a change of Retable's code does not repeat the
# download of several gigabytes.
COPY setup.cfg pyproject.toml MANIFEST.in README.md LICENSE constraints.txt ./
RUN pip install --no-cache-dir --constraint constraints.txt ".[postgres]"
COPY search search
COPY storage storage
COPY studies studies
COPY trainer trainer
RUN pip install --no-cache-dir --no-deps --force-reinstall .

FROM python:3.11-slim-bookworm
# The number is the one of deploy/kubernetes/workers.yaml, whose volumes belong to its group.
RUN groupadd --gid 10001 retable \
    && useradd --uid 10001 --gid retable --home-dir /srv/retable --create-home --shell /usr/sbin/nologin retable \
    && install --directory --owner retable --group retable /srv/retable/home
COPY --from=build /opt/retable /opt/retable
ENV PATH=/opt/retable/bin:$PATH \
    HOME=/srv/retable \
    RETABLE_HOME=/srv/retable/home \
    RETABLE_DATA=/data \
    NO_ALBUMENTATIONS_UPDATE=1 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /srv/retable
# A worker reports to the database by itself: `search status` shows which are alive, and leases free the work of others.
HEALTHCHECK NONE
ENTRYPOINT ["search"]
CMD ["worker", "--stay", "--grace", "60"]
