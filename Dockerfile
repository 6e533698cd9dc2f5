# Two images from one file. Versions are written in requirements.txt and constraints.txt alone; each
# image installs the groups that it runs. Code comes last: changing it installs nothing again.

FROM python:3.13-slim AS packages
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1
RUN useradd --uid 1000 --create-home lab
WORKDIR /lab
COPY requirements.txt constraints.txt /opt/
RUN sed -n '/^# The server$/,/^$/p' /opt/requirements.txt > /opt/server.txt \
 && pip install -c /opt/constraints.txt -r /opt/server.txt


FROM packages AS server
COPY server server
# Compiled here, because whoever runs the code may not write beside it; and imported once, because a
# package missing from its group has to stop the build.
RUN python -m compileall -q server && python -c "import server.__main__, server.transports.amqp.worker, server.transports.http.app"
USER lab
CMD ["python", "-m", "server", "worker"]


FROM packages AS lab
# For labs with a broker and a database of their own, which a notebook may break: not those of the
# other containers. Nothing starts by itself in here.
RUN apt-get update -q \
 && apt-get install -q -y --no-install-recommends rabbitmq-server postgresql \
 && rm -rf /var/lib/apt/lists/* /var/lib/postgresql/*
RUN sed '/^# Tests and checks$/,$d' /opt/requirements.txt > /opt/lab.txt \
 && pip install -c /opt/constraints.txt -r /opt/lab.txt \
 # There is no news for a lab, and the question whether to fetch it would greet every student.
 && jupyter labextension disable --level=system "@jupyterlab/apputils-extension:announcements"
# Notebooks import labkit, wherever they are. The student's uid is not always 1000 (see
# docker-compose.yml), so any uid may write where Jupyter and labkit keep their state.
ENV PYTHONPATH=/lab HOME=/home/lab USER=lab
# `docker compose exec jupyter` finds the addresses where a lab without Docker has them.
RUN mkdir .lab && chmod 777 .lab /home/lab && ln -s /secrets/lab.env .lab/lab.env
COPY server server
COPY labkit labkit
COPY flaws flaws
RUN python -m compileall -q server labkit flaws && python -c "from labkit import *"
USER lab
CMD ["jupyter", "lab"]
