"""The migrations make exactly the tables that the code works on, on both engines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from hipnode.errors import SettingsInvalid, StorageUnavailable
from hipnode.settings import Settings
from hipnode.storage import Store
from hipnode.storage.database import migrate
from hipnode.storage.database.schema import metadata


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of a node whose database is empty."""
    url = "" if request.param == "sqlite" else request.getfixturevalue("empty_postgres_url")
    return Settings.model_validate({"node": {"data_dir": tmp_path}, "database": {"url": url}})


def described(connection: sa.Connection) -> dict[str, Any]:
    """Return what the engine says of every column, constraint and index."""
    found: dict[str, Any] = {}
    inspector = sa.inspect(connection)
    for table in metadata.tables:
        for column in inspector.get_columns(table):
            default = str(column["default"]).replace("fresh.", "")
            found[f"{table}.{column['name']}"] = (
                str(column["type"]),
                column["nullable"],
                default,
            )
        for index in inspector.get_indexes(table):
            condition = {k: str(v) for k, v in index["dialect_options"].items() if "where" in k}
            found[str(index["name"])] = (index["column_names"], bool(index["unique"]), condition)
        found[f"{table} primary key"] = inspector.get_pk_constraint(table)["constrained_columns"]
        found[f"{table} foreign keys"] = sorted(
            (key["constrained_columns"], key["referred_table"], key["referred_columns"])
            for key in inspector.get_foreign_keys(table)
        )
        found[f"{table} checks"] = [c["sqltext"] for c in inspector.get_check_constraints(table)]
    return found


def test_upgrade_from_empty_equals_the_metadata(empty_settings: Settings, tmp_path: Path) -> None:
    store = Store.open(empty_settings, migrate=True)
    with store.database.engine.connect() as connection:

        def ours(thing: Any, name: str | None, kind: str, *_: object) -> bool:
            table = thing.table.name if kind == "index" else name
            return not str(table).startswith(("procrastinate_", "alembic_"))

        context = MigrationContext.configure(
            connection,
            opts={"compare_type": True, "include_object": ours},
        )
        assert compare_metadata(context, metadata) == []
        migrated = described(connection)
    with store.database.engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("CREATE SCHEMA fresh"))
            connection.execute(sa.text("SET LOCAL search_path TO fresh"))
            metadata.create_all(connection)
            created = described(connection)
        else:
            engine = sa.create_engine(f"sqlite:///{tmp_path / 'fresh.db'}")
            metadata.create_all(engine)
            with engine.connect() as fresh:
                created = described(fresh)
    assert migrated == created
    store.close()


def test_another_schema_is_refused(empty_settings: Settings) -> None:
    with pytest.raises(StorageUnavailable, match="none"):
        Store.open(empty_settings)
    store = Store.open(empty_settings, migrate=True)
    for statement in (
        "UPDATE alembic_version SET version_num = '9999'",
        "UPDATE schema_support SET oldest = '9999'",
    ):
        store.database.write(lambda c, s=statement: c.execute(sa.text(s)))  # type: ignore[misc]
    store.close()
    with pytest.raises(StorageUnavailable, match="9999"):
        Store.open(empty_settings, migrate=True)


def test_migrating_twice_and_at_once_is_harmless(empty_settings: Settings, tmp_path: Path) -> None:
    program = (
        "import sys; from hipnode.settings import Settings; from hipnode.storage import Store\n"
        "Store.open(Settings.model_validate_json(sys.argv[1]), migrate=True).close()"
    )
    document = {
        "node": {"data_dir": str(tmp_path)},
        "database": {"url": empty_settings.database.url.get_secret_value()},
    }
    text = __import__("json").dumps(document)
    racers = [subprocess.Popen([sys.executable, "-c", program, text]) for _ in range(4)]
    assert [racer.wait(120) for racer in racers] == [0, 0, 0, 0]
    store = Store.open(empty_settings, migrate=True)
    assert migrate.current(store.database) == migrate.head()
    store.close()


def test_the_newest_version_is_the_one_that_alembic_knows() -> None:
    folder = Path(migrate.__file__).parent / "migrations"
    assert migrate.head() == ScriptDirectory(str(folder)).get_current_head()


def test_the_migrations_are_package_data() -> None:
    """An installed wheel brings them along: they lie inside of the package."""
    folder = Path(migrate.__file__).parent / "migrations"
    assert (folder / "env.py").is_file()
    assert list((folder / "versions").glob("0001_*.py"))


def test_only_the_two_engines_are_taken(tmp_path: Path) -> None:
    for url in ("mysql://localhost/x", "not a url", "sqlite://"):
        settings = Settings.model_validate(
            {"node": {"data_dir": tmp_path}, "database": {"url": url}}
        )
        with pytest.raises(SettingsInvalid):
            Store.open(settings)


def test_sqlite_needs_neither_psycopg_nor_procrastinate(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['psycopg'] = sys.modules['procrastinate'] = None\n"
        "from hipnode.settings import Settings; from hipnode.storage import Store, dispatcher_for\n"
        "store = Store.open(Settings.model_validate("
        "{'node': {'data_dir': sys.argv[1]}}), migrate=True)\n"
        "dispatcher_for(store); store.close()"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=120)


def test_sqlite_is_as_durable_as_it_can_be(tmp_path: Path) -> None:
    settings = Settings.model_validate({"node": {"data_dir": tmp_path}})
    store = Store.open(settings, migrate=True)
    for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
        found = store.database.read(
            lambda c, p=pragma: c.exec_driver_sql(f"PRAGMA {p}").scalar()  # type: ignore[misc]
        )
        assert found == value
    store.close()


def test_a_database_that_is_away_is_a_storage_error(tmp_path: Path) -> None:
    for url in ("postgresql+psycopg://nobody@127.0.0.1:1/none", f"sqlite:///{tmp_path}/no/such.db"):
        settings = Settings.model_validate(
            {"node": {"data_dir": tmp_path}, "database": {"url": url}}
        )
        with pytest.raises(StorageUnavailable) as caught:
            Store.open(settings)
        assert "nobody" not in str(caught.value)
