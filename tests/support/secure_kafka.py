"""Brokers that ask who is there: the embedded broker's jars with a listener for SASL_SSL, and one for SSL alone."""

from __future__ import annotations

import subprocess
from typing import Any

from etl.embedded import kafka
from etl.embedded.part import Part, tcp_ready
from etl.settings import Settings, changed
from tests.support.certificates import Authority

USER, PASSWORD = "etl", "s3cret-of-Kafka"
SCRAM = ("SCRAM-SHA-512", "SCRAM-SHA-256")

_SECURE = """
listeners=SASL_SSL://{host}:{port},SSL://{host}:{mutual_port},CONTROLLER://{host}:{controller_port}
advertised.listeners=SASL_SSL://{host}:{port},SSL://{host}:{mutual_port}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL
inter.broker.listener.name=SSL
ssl.keystore.type=PEM
ssl.keystore.location={identity}
ssl.truststore.type=PEM
ssl.truststore.location={authority}
listener.name.ssl.ssl.client.auth=required
sasl.enabled.mechanisms={mechanisms},PLAIN
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={modules}.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={modules}.scram.ScramLoginModule required;
listener.name.sasl_ssl.plain.sasl.jaas.config={modules}.plain.PlainLoginModule required user_{user}="{password}";
"""


def secure_kafka_part(settings: Settings, authority: Authority) -> Part:
    """SASL_SSL on ``kafka_port``; on the port after it SSL, for clients with a certificate of ``authority``."""
    properties = settings.state_path / "kafka" / "broker.properties"
    properties.parent.mkdir(parents=True)
    properties.write_text(_properties(settings, authority))
    users = [word for each in SCRAM for word in ("-S", f"{each}=[name={USER},password={PASSWORD}]")]
    *java, _ = kafka.java_command([], properties, "kafka.tools.StorageTool")
    formatting = [*java, "format", "-t", kafka.CLUSTER_ID, "-c", str(properties), *users]
    subprocess.run(formatting, check=True, capture_output=True)
    return Part(
        name="secure_kafka",
        command=kafka.java_command([], properties),
        ready=tcp_ready(settings.bind_host, settings.kafka.port),
        ready_within_s=kafka.READY_WITHIN_S,
    )


def _properties(settings: Settings, authority: Authority) -> str:
    values = {
        "host": settings.bind_host,
        "port": settings.kafka.port,
        "mutual_port": settings.kafka.port + 1,
        "controller_port": settings.kafka.controller_port,
        "data_dir": settings.state_path / "kafka" / "data",
        "message_bytes_max": settings.producer.message_bytes_max,
        "identity": authority.identity(settings.bind_host).both_file,
        "authority": authority.ca_file,
        "mechanisms": ",".join(SCRAM),
        "modules": "org.apache.kafka.common.security",
        "user": USER,
        "password": PASSWORD,
    }
    plain = kafka.PROPERTIES_TEMPLATE.read_text().format_map(values).splitlines()
    secure = _SECURE.format_map(values)
    replaced = {line.partition("=")[0] for line in secure.splitlines()}
    return "\n".join([*(line for line in plain if line.partition("=")[0] not in replaced), secure])


def with_password(settings: Settings, authority: Authority, **others: Any) -> Settings:
    """``settings`` of a client that ``secure_kafka_part(settings, authority)`` lets in; ``others`` win."""
    values = {
        "kafka_url": f"{settings.bind_host}:{settings.kafka.port}",
        "kafka_security_protocol": "SASL_SSL",
        "kafka_sasl_mechanism": "SCRAM-SHA-512",
        "kafka_user": USER,
        "kafka_password": PASSWORD,
        "kafka_ca_file": str(authority.ca_file),
    }
    return changed(settings, **{**values, **others})


def with_certificate(settings: Settings, authority: Authority, **others: Any) -> Settings:
    """As ``with_password``, by a certificate of the authority's."""
    identity = authority.identity("client")
    values = {
        "kafka_url": f"{settings.bind_host}:{settings.kafka.port + 1}",
        "kafka_security_protocol": "SSL",
        "kafka_ca_file": str(authority.ca_file),
        "kafka_certificate_file": str(identity.certificate_file),
        "kafka_key_file": str(identity.key_file),
    }
    return changed(settings, **{**values, **others})
