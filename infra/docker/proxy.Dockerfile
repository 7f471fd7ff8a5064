# Caddy as an ordinary user: its program without the right that the image gives it, and a folder of ours for certificates
ARG CADDY_IMAGE=caddy:2.10.2-alpine

FROM ${CADDY_IMAGE}
# A program whose file asks for a right is not started where all are dropped
RUN setcap -r /usr/bin/caddy \
    && addgroup -g 10001 proxy \
    && adduser -u 10001 -G proxy -D -H -h /tmp -s /sbin/nologin proxy \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/caddy
COPY infra/compose/Caddyfile /opt/caddy/Caddyfile
ENV XDG_DATA_HOME=/var/lib/caddy \
    XDG_CONFIG_HOME=/tmp
WORKDIR /var/lib/caddy
USER 10001:10001
