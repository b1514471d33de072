"""The client of a bucket, by the address: ``s3://bucket``, ``gs://bucket`` or ``az://container``, with options.

Keys come from the environment, as the tools of each have it: AWS_*, GOOGLE_*, AZURE_*; of S3 from a profile too.
"""

from __future__ import annotations

import configparser
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from obstore import exceptions
from obstore.store import AzureStore, GCSStore, S3Store

from etl.errors import StoreUnavailable
from etl.settings import other_environment

RETRIES_MAX = 3
RETRY_TIMEOUT_S = 30.0
REQUEST_TIMEOUT_S = 60.0
OPTIONS = {
    "s3": ("scheme", "endpoint_override", "region", "tls_ca_file_path", "virtual_addressing"),
    "gs": ("scheme", "endpoint_override", "tls_ca_file_path"),
    "az": ("scheme", "endpoint_override", "account", "tls_ca_file_path"),
}
"""By the scheme of the address."""


def store_of(kind: str, bucket: str, options: dict[str, str], keys: dict[str, str]) -> Any:
    """Raises ``ValueError``, and ``OSError`` for a file of authorities that is not there."""
    unknown = options.keys() - set(OPTIONS[kind])
    if unknown:
        raise ValueError(f"unknown options: {', '.join(sorted(unknown))}")
    scheme = options.get("scheme", "https")
    client: dict[str, Any] = {
        "allow_http": scheme == "http",
        "timeout": timedelta(seconds=REQUEST_TIMEOUT_S),
    }
    if authority := options.get("tls_ca_file_path"):
        client["root_certificate"] = Path(authority).read_bytes()
    place = options.get("endpoint_override", "")
    endpoint = place if "://" in place or not place else f"{scheme}://{place}"
    retries = {"max_retries": RETRIES_MAX, "retry_timeout": timedelta(seconds=RETRY_TIMEOUT_S)}
    shared: dict[str, Any] = {"client_options": client, "retry_config": retries}
    try:
        if kind == "gs":
            return GCSStore(bucket, config={"base_url": endpoint} if endpoint else {}, **shared)
        if kind == "az":
            # from the environment too: a store that has not been told cannot be printed, which ends the process
            account = options.get("account") or other_environment().get("AZURE_STORAGE_ACCOUNT_NAME", "")
            if not account:
                raise ValueError("no account")
            config: Any = _given({"endpoint": endpoint, "account_name": account})
            return AzureStore(bucket, config=config, **shared)
        return S3Store(bucket, config=_s3(options, endpoint, keys), **shared)  # type: ignore[arg-type]
    except exceptions.BaseError as error:
        raise ValueError(type(error).__name__) from None


def _s3(options: dict[str, str], endpoint: str, keys: dict[str, str]) -> dict[str, Any]:
    config: dict[str, Any] = _given(keys if any(keys.values()) else _profile())
    config |= _given({"endpoint": endpoint, "region": options.get("region", "")})
    if options.get("virtual_addressing") == "true":
        config["virtual_hosted_style_request"] = True
    # the store compares it with what it got
    return {**config, "checksum_algorithm": "sha256"}


def _given(config: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in config.items() if value}


def _profile() -> dict[str, str]:
    """Keys of the profile ``AWS_PROFILE``, where the environment has none: it comes first, as with every AWS tool."""
    environment = other_environment()
    if "AWS_ACCESS_KEY_ID" in environment:
        return {}
    path = Path(environment.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")).expanduser()
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(path)
    name = environment.get("AWS_PROFILE", "default")
    if name not in parser:
        return {}
    names = {
        "access_key_id": "aws_access_key_id",
        "secret_access_key": "aws_secret_access_key",
        "token": "aws_session_token",
    }
    return {to: parser[name].get(of, "") for to, of in names.items()}


@contextmanager
def reachable(place: str) -> Iterator[None]:
    try:
        yield
    except exceptions.NotFoundError as error:
        raise FileNotFoundError(str(error).partition("\n")[0]) from None
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
        raise
    except (FileNotFoundError, FileExistsError):
        raise
    except (exceptions.BaseError, OSError) as error:
        raise StoreUnavailable(f"lake at {place}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """What the store or the network said, on one line."""
    text = " ".join(str(error).split())
    said = text.partition(" Debug source:")[0]
    return f"{said}: its certificate is refused" if "ertificate" in text.removeprefix(said) else said
