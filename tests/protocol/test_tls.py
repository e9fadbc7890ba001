"""DICOM over TLS in both directions, against dcmtk and Orthanc, with certificates made here."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from hipnode.domain import AuditEvent, JobKind, JobState
from tests.archive import Orthanc
from tests.conftest import StoreSCP
from tests.peers import Process, eventually, require, run, start_on_free_ports
from tests.protocol.conftest import Service
from tests.protocol.objects import radiograph, save
from tests.protocol.test_courier import SR_3D, all_done, destination, reported

Make = Callable[..., Service]


@dataclass(frozen=True)
class Papers:
    """A certificate with its key, and the authority that it trusts."""

    certificate: Path
    key: Path
    ca: Path

    def settings(self) -> dict[str, Path]:
        return {"certificate": self.certificate, "key": self.key, "ca": self.ca}

    def dcmtk(self) -> list[str]:
        return ["+tls", str(self.key), str(self.certificate), "+cf", str(self.ca)]


def issue(ca: trustme.CA, folder: Path, name: str) -> Papers:
    issued = ca.issue_cert("127.0.0.1", "localhost", common_name=name)
    papers = Papers(folder / f"{name}.crt", folder / f"{name}.key", folder / f"{name}-ca.crt")
    papers.certificate.write_bytes(b"".join(b.bytes() for b in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(papers.key)
    ca.cert_pem.write_to_path(papers.ca)
    return papers


@pytest.fixture
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def node_papers(ca: trustme.CA, tmp_path: Path) -> Papers:
    return issue(ca, tmp_path, "node")


@pytest.fixture
def peer_papers(ca: trustme.CA, tmp_path: Path) -> Papers:
    return issue(ca, tmp_path, "peer")


# --- in ---------------------------------------------------------------------------------------


def send(node: Service, path: Path, *options: str) -> int:
    command = [require("storescu", "dcmtk"), "-aec", "HIPNODE", *options]
    return run([*command, node.host, str(node.port), path], check=False).returncode


def test_mutual_tls(
    service: Make, node_papers: Papers, peer_papers: Papers, tmp_path: Path
) -> None:
    node = service(listener={"tls": node_papers.settings()}).listen()
    image = save(radiograph(700, 900), tmp_path / "dx.dcm")
    assert send(node, image, *peer_papers.dcmtk()) == 0
    assert len(node.store.lookups.jobs(kind=JobKind.READ)) == 1
    assert send(node, image, "+tla", "+cf", str(peer_papers.ca)) != 0  # no certificate
    stranger = issue(trustme.CA(), tmp_path, "stranger")
    assert send(node, image, *stranger.dcmtk()[:3], "+cf", str(peer_papers.ca)) != 0
    assert send(node, image) != 0  # no TLS at all
    refused = eventually(lambda: node.audited(AuditEvent.ASSOCIATION_REFUSED))
    assert {row.record.detail["cause"] for row in refused} == {"tls_handshake"}
    assert len(node.store.lookups.jobs(kind=JobKind.READ)) == 1


def test_old_versions_of_tls_are_refused(
    service: Make, node_papers: Papers, peer_papers: Papers
) -> None:
    node = service(listener={"tls": node_papers.settings()}).listen()
    client = [require("openssl", "openssl"), "s_client", "-connect", f"127.0.0.1:{node.port}"]
    client += ["-cert", str(peer_papers.certificate), "-key", str(peer_papers.key), "-brief"]
    assert run([*client, "-tls1_2"], check=False).returncode == 0
    weak = ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]
    assert run([*client, *weak], check=False).returncode != 0
    static_rsa = ["-tls1_2", "-cipher", "AES256-SHA"]
    assert run([*client, *static_rsa], check=False).returncode != 0


def test_a_handshake_that_never_ends_keeps_nobody_out(
    service: Make, node_papers: Papers, peer_papers: Papers, tmp_path: Path
) -> None:
    node = service(listener={"tls": node_papers.settings(), "acse_timeout_s": 300}).listen()
    silent = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(5)]
    assert send(node, save(radiograph(), tmp_path / "dx.dcm"), *peer_papers.dcmtk()) == 0
    for sock in silent:
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(1)  # still open: nobody waited for its end
        sock.close()


def test_a_handshake_that_never_ends_is_ended(service: Make, node_papers: Papers) -> None:
    node = service(listener={"tls": node_papers.settings(), "acse_timeout_s": 1}).listen()
    with socket.create_connection(("127.0.0.1", node.port), timeout=60) as silent:
        assert silent.recv(1) == b""


# --- out --------------------------------------------------------------------------------------


@pytest.fixture
def tls_storescp(peer_papers: Papers, tmp_path: Path) -> Iterator[StoreSCP]:
    program = require("storescp", "dcmtk")
    folder = tmp_path / "received"
    folder.mkdir()

    def launch(port: int) -> StoreSCP:
        command = [program, "-od", str(folder), *peer_papers.dcmtk(), str(port)]
        process = Process(command, tmp_path / "storescp.log")
        process.wait_listening(port)
        return StoreSCP(process, "STORESCP", port, folder)

    peer = start_on_free_ports(launch, 1)
    yield peer
    peer.process.stop()


def test_results_go_out_over_mutual_tls(
    service: Make, node_papers: Papers, tls_storescp: StoreSCP
) -> None:
    tls = node_papers.settings()
    node = service(destinations=destination(tls_storescp, tls=tls))
    reported(node, (SR_3D, True))
    node.deliver()
    eventually(lambda: all_done(node))
    assert len(tls_storescp.received()) == 1


def test_an_impostor_gets_nothing(service: Make, tmp_path: Path, tls_storescp: StoreSCP) -> None:
    other = issue(trustme.CA(), tmp_path, "other")
    node = service(destinations=destination(tls_storescp, tls=other.settings()))
    reported(node, (SR_3D, True))
    node.deliver()
    eventually(lambda: node.audited(AuditEvent.DELIVERY_FAILED))
    assert node.store.lookups.jobs(kind=JobKind.DELIVER)[0].state is not JobState.DONE
    assert not tls_storescp.received()


# --- Orthanc ----------------------------------------------------------------------------------


@pytest.fixture
def tls_orthanc(peer_papers: Papers, tmp_path: Path) -> Iterator[Orthanc]:
    """An Orthanc that speaks DICOM over mutual TLS only."""
    archive = Orthanc(
        tmp_path / "orthanc",
        DicomTlsEnabled=True,
        DicomTlsCertificate=str(peer_papers.certificate),
        DicomTlsPrivateKey=str(peer_papers.key),
        DicomTlsTrustedCertificates=str(peer_papers.ca),
        DicomTlsRemoteCertificateRequired=True,
    )
    archive.start()
    yield archive
    archive.stop()


def test_orthanc_sends_over_mutual_tls(
    service: Make, node_papers: Papers, tls_orthanc: Orthanc, tmp_path: Path
) -> None:
    node = service(listener={"tls": node_papers.settings()}).listen()
    tls_orthanc.store(save(radiograph(), tmp_path / "dx.dcm").read_bytes())
    peer = {"AET": "HIPNODE", "Host": "127.0.0.1", "Port": node.port, "UseDicomTls": True}
    tls_orthanc.request("PUT", "/modalities/node", peer)
    (found,) = tls_orthanc.instances()
    tls_orthanc.request("POST", "/modalities/node/store", [found["OrthancID"]])
    assert len(node.store.lookups.jobs(kind=JobKind.READ)) == 1


def test_results_go_to_orthanc_over_mutual_tls(
    service: Make, node_papers: Papers, tls_orthanc: Orthanc, tmp_path: Path
) -> None:
    stranger = issue(trustme.CA(), tmp_path, "stranger")
    mixed = {**stranger.settings(), "ca": node_papers.ca}  # knows Orthanc, and is not known to it
    refused = service(destinations=destination(tls_orthanc, tls=mixed))
    reported(refused, (SR_3D, True))
    refused.deliver()
    eventually(lambda: refused.audited(AuditEvent.DELIVERY_FAILED))
    assert not tls_orthanc.instances()
    node = service(destinations=destination(tls_orthanc, tls=node_papers.settings()))
    reported(node, (SR_3D, True))
    node.deliver()
    eventually(lambda: all_done(node))
    assert len(tls_orthanc.instances()) == 1
