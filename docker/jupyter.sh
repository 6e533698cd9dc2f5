#!/bin/sh
# Says where JupyterLab is, with the token that opens it, and becomes JupyterLab. The token is in its
# environment, not among its arguments, which `ps` shows to everybody.
#
#   docker/jupyter.sh [OPTION...]     more options of JupyterLab
#
# It answers only who asks for localhost (allow_remote_access): no web page can rebind its name to it.
set -eu
login=${MANAGEMENT_URL#http://}; login=${login%%@*}
echo "JupyterLab   http://127.0.0.1:${PUBLISHED_PORT:-8888}/lab?token=$JUPYTER_TOKEN"
echo "RabbitMQ     http://127.0.0.1:${PUBLISHED_MANAGEMENT_PORT:-15672}, user ${login%%:*}, password ${login#*:}"
python -c "from labkit import own_notebooks; own_notebooks.make()"
exec jupyter lab \
    --no-browser \
    --allow-root \
    --ip=0.0.0.0 \
    --ServerApp.allow_remote_access=False \
    --LabApp.default_url=/lab/tree/my_work/00_start_here.ipynb \
    "$@"
