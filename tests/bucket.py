"""Buckets for the tests: moto's, in this process, and any that speaks S3 (`tests.swift`)."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer


class Bucket:
    """One empty bucket of an object store that speaks S3, on loopback.

    Parameters
    ----------
    folder
        For the file with the keys.
    endpoint
        Where the object store answers.
    access_key, secret_key
        Who asks there.

    Attributes
    ----------
    tables
        What the settings say of it.
    client
        boto3's view of it.
    """

    name = "images"

    def __init__(self, folder: Path, endpoint: str, access_key: str, secret_key: str) -> None:
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name="us-east-1",
            config=Config(request_checksum_calculation="when_required"),
        )
        for found in self.client.list_buckets()["Buckets"]:  # the server's memory outlives it
            self._remove(found["Name"])
        self.make()
        keys_file = folder / "keys.toml"
        keys_file.write_text(
            f'access_key_id = "{access_key}"\nsecret_access_key = "{secret_key}"\n'
        )
        self.tables = {"name": self.name, "endpoint": endpoint, "keys_file": keys_file}

    def make(self) -> None:
        """Make the bucket."""
        self.client.create_bucket(Bucket=self.name)

    def remove(self) -> None:
        """Take the bucket away with all that is in it: nothing can be written then."""
        self._remove(self.name)

    def _remove(self, name: str) -> None:
        for found in self.client.list_objects_v2(Bucket=name).get("Contents", []):
            self.client.delete_object(Bucket=name, Key=found["Key"])
        self.client.delete_bucket(Bucket=name)

    def keys(self, prefix: str = "") -> list[str]:
        """Return the names of all objects but the bucket's identity, sorted."""
        found = self.client.list_objects_v2(Bucket=self.name, Prefix=prefix)
        names = [item["Key"] for item in found.get("Contents", [])]
        return [name for name in names if name != "node-identity"]

    def put(self, key: str, data: bytes) -> None:
        """Put an object into it, past hipnode."""
        self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def get(self, key: str) -> bytes:
        """Return an object's content."""
        return bytes(self.client.get_object(Bucket=self.name, Key=key)["Body"].read())


class MotoBucket(Bucket):
    """One empty bucket of moto's, whose clock can be put back."""

    def __init__(self, folder: Path) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._port = 0
        self.start()
        super().__init__(folder, f"http://127.0.0.1:{self._port}", "k", "s")

    def start(self) -> None:
        """Start the server, the second time on the same port and with the same objects."""
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self._port, verbose=False)
        self._server.start()
        _, self._port = self._server.get_host_and_port()

    def stop(self) -> None:
        """Stop the server: nobody listens there."""
        self._server.stop()

    def age(self, key: str, seconds: float) -> None:
        """Have the server believe that an object was put there so long ago."""
        for account in s3_backends.values():
            for backend in account.values():
                if self.name in backend.buckets:
                    backend.buckets[self.name].keys[key].last_modified -= timedelta(seconds=seconds)
