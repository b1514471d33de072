"""TLS to a server that proves who it is."""

from __future__ import annotations

import ssl

from etl.errors import UsageError


def verifying_context(setting: str, ca_file: str) -> ssl.SSLContext:
    """``ca_file``: PEM of the authorities that may vouch for the server; "" = the system's, or those that
    ``SSL_CERT_FILE`` names. Raises ``UsageError`` that names the ``setting`` for a file that cannot be read."""
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(f"{setting}: ca_file {ca_file}: {error}") from None
