"""
Write the system's certificate authorities as a trust store for Java.

The wheel's Java trusts only the authorities it was built with, not those that the machine's owner added (a company's
proxy). Run as a program by the virtual environment's Python: it drives that Java over py4j, which PySpark brings.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS
)


def find_bundle() -> Path | None:
    """Return the file of the authorities that this machine trusts, None if it has no such file."""
    chosen = [os.environ["SSL_CERT_FILE"]] if os.environ.get("SSL_CERT_FILE") else []
    return next((Path(bundle) for bundle in (*chosen, *BUNDLES) if Path(bundle).is_file()), None)


def write_trust_store(java: str, py4j_jar: str, bundle: str, store: str) -> None:
    """Write the authorities of *bundle* (PEM) to *store* (JKS, which Java reads without a password)."""
    from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway

    port = launch_gateway(jarpath=py4j_jar, java_path=java, die_on_exit=True)
    gateway = JavaGateway(gateway_parameters=GatewayParameters(port=port))
    jvm = gateway.jvm
    authorities = jvm.java.security.cert.CertificateFactory.getInstance("X.509").generateCertificates(
        jvm.java.io.FileInputStream(bundle)
    )
    keys = jvm.java.security.KeyStore.getInstance("JKS")
    keys.load(None, None)
    for number, authority in enumerate(authorities):
        keys.setCertificateEntry(f"authority-{number}", authority)
    target = jvm.java.io.FileOutputStream(store)
    no_secret = gateway.new_array(jvm.char, 8)  # the store must be given a password; certificates are public
    keys.store(target, no_secret)
    target.close()
    gateway.shutdown()


if __name__ == "__main__":
    write_trust_store(*sys.argv[1:])
