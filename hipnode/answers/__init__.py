"""What the node knows, as plain values: for ``--json``, a page, FHIR and the audit log's detail."""
