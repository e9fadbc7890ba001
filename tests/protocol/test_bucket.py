"""Images and results in an S3-compatible bucket (moto's), each machine with a cache."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from hipnode.domain import JobKind
from hipnode.errors import StorageUnavailable
from hipnode.settings import Settings
from hipnode.storage import Store
from tests.protocol.conftest import Service
from tests.protocol.objects import encoded, radiograph
from tests.protocol.wire import Wire, store

Make = Callable[..., Service]


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[tuple[dict[str, Any], Any, ThreadedMotoServer]]:
    """The settings of a bucket, boto3's view of it, and the server."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=endpoint, **keys)
    for found in client.list_buckets()["Buckets"]:  # the server's memory outlives it
        for key in keys_of(client, found["Name"]):
            client.delete_object(Bucket=found["Name"], Key=key)
        client.delete_bucket(Bucket=found["Name"])
    client.create_bucket(Bucket="images")
    keys_file = tmp_path / "keys.toml"
    keys_file.write_text('access_key_id = "k"\nsecret_access_key = "s"\n')
    yield {"name": "images", "endpoint": endpoint, "keys_file": keys_file}, client, server
    server.stop()


def keys_of(client: Any, bucket: str = "images") -> list[str]:
    return [found["Key"] for found in client.list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_an_image_is_in_the_bucket_before_it_is_acknowledged(
    service: Make, bucket: tuple[dict[str, Any], Any, ThreadedMotoServer], tmp_path: Path
) -> None:
    tables, client, _ = bucket
    node = service(bucket=tables).listen()
    ds = radiograph()
    with Wire(node.port, timeout_s=120) as wire:
        wire.associate()
        assert store(wire, ds.SOPInstanceUID, encoded(ds)) == 0
        (job,) = node.store.ledger.jobs(kind=JobKind.READ)
        kept = node.store.ledger.instance(job.instance_id or 0)
        assert keys_of(client) == [kept.path]
        here = node.store.files.path(kept.path).read_bytes()

        # Another machine has another cache and the same bucket.
        other = Settings.model_validate(
            {"node": {"data_dir": tmp_path / "other"}, "bucket": tables}
        )
        elsewhere = Store.open(other, migrate=True)
        assert elsewhere.files.path(kept.path).read_bytes() == here
        assert elsewhere.files.delete(kept.path, unless_touched_since_s=0) is False
        assert elsewhere.files.delete(kept.path)
        assert keys_of(client) == []
        assert not elsewhere.files.path(kept.path).exists()
        elsewhere.close()

        client.delete_bucket(Bucket="images")
        late = radiograph()
        assert store(wire, late.SOPInstanceUID, encoded(late)) == 0xA700
        assert len(node.store.ledger.jobs(kind=JobKind.READ)) == 1
        client.create_bucket(Bucket="images")
        assert store(wire, late.SOPInstanceUID, encoded(late)) == 0
        assert len(keys_of(client)) == 1
        wire.release()


def test_a_result_is_in_the_bucket_before_its_path_is_known(
    service: Make, bucket: tuple[dict[str, Any], Any, ThreadedMotoServer]
) -> None:
    tables, client, _ = bucket
    node = service(bucket=tables)
    relative = node.store.files.write_result("1.2.3", b"a report")
    assert keys_of(client) == [relative]
    (node.store.files.root / relative).unlink()
    assert node.store.files.path(relative).read_bytes() == b"a report"
    client.delete_object(Bucket="images", Key=relative)
    client.delete_bucket(Bucket="images")
    with pytest.raises(StorageUnavailable):
        node.store.files.write_result("1.2.4", b"another")
