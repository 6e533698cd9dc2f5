#!/bin/sh
# A CA of one's own, and a certificate of the broker that it signs.
#
#   docker/certificates.sh FOLDER NAME...     NAME: DNS:rabbitmq, IP:127.0.0.1 …
#
# Leaves ca.pem, server.pem and server.key in FOLDER. What is there already stays as it is. The CA's
# own key is thrown away: nobody can ever sign another certificate that our clients would trust.
set -eu
folder=$1; shift
names=$(IFS=,; echo "$*")
[ -e "$folder/server.key" ] && exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
openssl req -x509 -newkey rsa:2048 -nodes -days 825 -subj "/CN=CA of the lab" \
    -addext "keyUsage=critical,keyCertSign,cRLSign" -keyout "$work/ca.key" -out "$work/ca.pem"
openssl req -newkey rsa:2048 -nodes -subj "/CN=RabbitMQ of the lab" \
    -keyout "$work/server.key" -out "$work/server.csr"
cat > "$work/extensions" <<EOF
subjectAltName = $names
extendedKeyUsage = serverAuth
keyUsage = critical, digitalSignature, keyEncipherment
basicConstraints = critical, CA:false
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
EOF
openssl x509 -req -days 825 -in "$work/server.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" \
    -CAcreateserial -extfile "$work/extensions" -out "$work/server.pem"

mkdir -p "$folder"
chmod 600 "$work/server.key"
mv "$work/ca.pem" "$work/server.pem" "$folder"
mv "$work/server.key" "$folder" # last: it says that all is there
