"""Views for those who ask the audit log in SQL. Only adds.

Whoever rebuilds the table ``audit`` drops them first and makes them again.

Revision ID: 0026
Revises: 0025
"""

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

_NAMES = (
    "event, outcome, actor, study_instance_uid, sop_instance_uid, patient_id, accession_number,"
    " ae_title, job_id"
)
_IMAGE = "a.id, {at} AS at, a.accession_number, a.patient_id, a.study_instance_uid,"
_IMAGE_READ = "a.event IN ('image_read', 'image_abstained')"
_SENT = "a.event IN ('object_delivered', 'object_committed', 'delivery_failed', 'commitment_failed')"

_SQLITE_AT = "strftime('%Y-%m-%d %H:%M:%f', a.at_utc / 1000000.0, 'unixepoch')"
_SQLITE = {
    "audit_log": f"SELECT a.id, {_SQLITE_AT} AS at, {_NAMES}, detail, writer, row_hash FROM audit a",
    "audit_findings": f"""
        SELECT {_IMAGE.format(at=_SQLITE_AT)}
          a.sop_instance_uid, a.detail ->> 'view' AS view, h.value ->> 'side' AS side,
          h.value ->> 'verdict' AS verdict,
          coalesce(h.value ->> 'attention', a.detail ->> 'attention') AS attention,
          (SELECT group_concat(c.value, ' ') FROM json_each(h.value, '$.caveats') c) AS caveats,
          coalesce(h.value ->> 'abstained', a.detail ->> 'abstained') AS abstained,
          coalesce(h.value ->> 'why', a.detail ->> 'why') AS why,
          f.value ->> 'task' AS task, f.value ->> 'label' AS label,
          f.value ->> 'p_positive' AS p_positive, f.value ->> 'decision' AS decision,
          f.value ->> 'operating_point' AS operating_point,
          f.value ->> 'doubtful_from' AS doubtful_from, f.value ->> 'present_from' AS present_from,
          f.value ->> 'model' AS model, f.value ->> 'model_version' AS model_version,
          f.value ->> 'model_digest' AS model_digest, f.value ->> 'shadow' AS shadow,
          a.detail ->> 'model_set' AS model_set, a.detail ->> 'model_set_digest' AS model_set_digest
        FROM audit a
          LEFT JOIN json_each(a.detail, '$.hips') h ON 1
          LEFT JOIN json_each(h.value, '$.findings') f ON 1
        WHERE {_IMAGE_READ} AND (h.value IS NOT NULL OR a.detail ->> 'abstained' IS NOT NULL)
    """,
    "audit_deliveries": f"""
        SELECT {_IMAGE.format(at=_SQLITE_AT)}
          a.event, a.outcome, a.detail ->> 'destination' AS destination, a.ae_title,
          a.detail ->> 'object' AS object, a.sop_instance_uid, a.detail ->> 'sop_class' AS sop_class,
          a.detail ->> 'status' AS status, a.detail ->> 'reason' AS reason
        FROM audit a WHERE {_SENT}
    """,
    "audit_models": f"""
        SELECT a.id, {_SQLITE_AT} AS at, a.detail ->> 'model_set' AS model_set,
          a.detail ->> 'digest' AS model_set_digest, m.key AS role, m.value ->> 'model' AS model,
          m.value ->> 'model_version' AS model_version, m.value ->> 'model_digest' AS model_digest
        FROM audit a, json_each(a.detail, '$.models') m
        WHERE a.event = 'model_set_loaded' AND m.type = 'object'
    """,
}

_POSTGRESQL_AT = "to_timestamp(a.at_utc / 1e6)"
_POSTGRESQL = {
    "audit_log": f"SELECT a.id, {_POSTGRESQL_AT} AS at, {_NAMES}, detail, writer, row_hash"
    " FROM audit a",
    "audit_findings": f"""
        SELECT {_IMAGE.format(at=_POSTGRESQL_AT)}
          a.sop_instance_uid, d ->> 'view' AS view, h ->> 'side' AS side,
          h ->> 'verdict' AS verdict, coalesce(h ->> 'attention', d ->> 'attention') AS attention,
          (SELECT string_agg(c, ' ') FROM json_array_elements_text(h -> 'caveats') c) AS caveats,
          coalesce(h ->> 'abstained', d ->> 'abstained') AS abstained,
          coalesce(h ->> 'why', d ->> 'why') AS why,
          f ->> 'task' AS task, f ->> 'label' AS label,
          (f ->> 'p_positive')::double precision AS p_positive, f ->> 'decision' AS decision,
          f ->> 'operating_point' AS operating_point,
          (f ->> 'doubtful_from')::double precision AS doubtful_from,
          (f ->> 'present_from')::double precision AS present_from,
          f ->> 'model' AS model, f ->> 'model_version' AS model_version,
          f ->> 'model_digest' AS model_digest, (f ->> 'shadow')::boolean AS shadow,
          d ->> 'model_set' AS model_set, d ->> 'model_set_digest' AS model_set_digest
        FROM audit a CROSS JOIN LATERAL (SELECT a.detail::json AS d) whole
          LEFT JOIN LATERAL json_array_elements(d -> 'hips') h ON true
          LEFT JOIN LATERAL json_array_elements(h -> 'findings') f ON true
        WHERE {_IMAGE_READ} AND (h IS NOT NULL OR d ->> 'abstained' IS NOT NULL)
    """,
    "audit_deliveries": f"""
        SELECT {_IMAGE.format(at=_POSTGRESQL_AT)}
          a.event, a.outcome, d ->> 'destination' AS destination, a.ae_title,
          d ->> 'object' AS object, a.sop_instance_uid, d ->> 'sop_class' AS sop_class,
          d ->> 'status' AS status, d ->> 'reason' AS reason
        FROM audit a CROSS JOIN LATERAL (SELECT a.detail::json AS d) whole WHERE {_SENT}
    """,
    "audit_models": f"""
        SELECT a.id, {_POSTGRESQL_AT} AS at, d ->> 'model_set' AS model_set,
          d ->> 'digest' AS model_set_digest, m.key AS role, m.value ->> 'model' AS model,
          m.value ->> 'model_version' AS model_version, m.value ->> 'model_digest' AS model_digest
        FROM audit a CROSS JOIN LATERAL (SELECT a.detail::json AS d) whole
          CROSS JOIN LATERAL json_each(d -> 'models') m
        WHERE a.event = 'model_set_loaded' AND json_typeof(m.value) = 'object'
    """,
}


def upgrade() -> None:
    views = _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL
    for name, query in views.items():
        op.execute(f"CREATE VIEW {name} AS {query}")


def downgrade() -> None:
    raise NotImplementedError("Restore the backup made before the first start instead.")
