#!/bin/bash
# Builds images without Docker, with buildah in a chroot, and asks each whether it works. As root on Debian:
#   apt-get install buildah debootstrap
#   docker/build.sh [worker] [airflow] [demo]      all three, if none is named
# ETL_IMAGE_BASE=image takes another base than the Debian made here, which is for machines that reach no image registry and
# whose certificate authority (SSL_CERT_FILE) is in it: push none that was built on it.
set -o errexit -o nounset -o pipefail

cd "$(dirname "$0")/.."
targets=("$@")
[ $# -gt 0 ] || targets=(worker airflow demo)
base=${ETL_IMAGE_BASE:-localhost/etl-base}
work=.cache/image
mkdir -p "$work"
export BUILDAH_ISOLATION=chroot

if [ -z "${ETL_IMAGE_BASE:-}" ] && ! buildah inspect --type image "$base" >/dev/null 2>&1; then
  echo 'build: the base, by debootstrap'
  rm -rf "$work/debian"
  debootstrap --variant=minbase --include=ca-certificates bookworm "$work/debian" >"$work/base.log"
  chroot "$work/debian" sh -c 'apt-get update && apt-get install --yes --no-install-recommends python3.11 python3.11-venv
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*' >>"$work/base.log" 2>&1
  authorities=/etc/ssl/certs/ca-certificates.crt
  if [ -n "${SSL_CERT_FILE:-}" ]; then  # one a file: so they get into Java's store, too, which Maven asks
    own=$work/debian/usr/share/ca-certificates/own
    mkdir -p "$own"
    csplit --quiet --elide-empty-files --suffix-format '%03d.crt' --prefix "$own/" \
      "$SSL_CERT_FILE" '/-BEGIN CERTIFICATE-/' '{*}'
    (cd "$own/.." && ls own/*.crt) >>"$work/debian/etc/ca-certificates.conf"
    chroot "$work/debian" update-ca-certificates >>"$work/base.log" 2>&1
  fi
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$work/debian" / >/dev/null
  for name in SSL_CERT_FILE PIP_CERT NODE_EXTRA_CA_CERTS; do
    buildah config --env "$name=$authorities" "$container"
  done
  buildah commit --quiet --rm "$container" "$base" >/dev/null
  rm -rf "$work/debian"
fi

for target in "${targets[@]}"; do
  echo "build: $target"
  # the format of Docker: OCI's has no health check
  buildah build --format docker --layers --quiet --file docker/Dockerfile --ignorefile docker/Dockerfile.dockerignore \
    --target "$target" --tag "etl-$target" --build-arg "BASE=$base" . >"$work/$target.log" 2>&1 \
    || { tail -n 20 "$work/$target.log" >&2; exit 1; }
  docker/check_image.sh "$target"
done
