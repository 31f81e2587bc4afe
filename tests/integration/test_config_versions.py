"""Configurations, their versions that never change, and the differences between versions.

``test_cN_…`` is named after a flaw of the design these tables come from, which must not come back.
"""

import json

import psycopg
import pytest
from psycopg.errors import (
    CheckViolation,
    ForeignKeyViolation,
    InsufficientPrivilege,
    RestrictViolation,
    UniqueViolation,
)

from pipelines.database import connect
from tests.evaluation_rows import MOMENT, add, add_version, refused, value

PROJECT = "alpha"


@pytest.mark.parametrize("config", [{}, {"model": "o3"}, {"temperature": None}, {"temperature": "low"}])
def test_c22_a_configuration_needs_no_temperature(ingest, made, config):
    add_version(ingest, PROJECT, made.config, json.dumps(config), parsed_config=config)
    with pytest.raises(CheckViolation):
        ingest.execute("insert into raw.config_versions (project_id, config_id, raw_yaml, parsed_config) "
                       "values (%s, %s, '- x', '[1]')", [PROJECT, made.config])  # fmt: skip


def test_c25_a_version_never_changes_and_the_same_text_is_one_version(ingest, made):
    for column, new in (("raw_yaml", "x"), ("version_number", "9"), ("parsed_config", "{}")):
        with pytest.raises(InsufficientPrivilege), ingest.transaction():
            ingest.execute(f"update raw.config_versions set {column} = %s", [new])
    with pytest.raises(InsufficientPrivilege), ingest.transaction():
        ingest.execute("delete from raw.config_versions")
    with pytest.raises(UniqueViolation), ingest.transaction():
        add_version(ingest, PROJECT, made.config, "model: m # ")
    ingest.execute("update raw.config_versions set is_deleted = true where version_id = %s", [made.versions[1]])
    ingest.execute("reset role")
    for statement in ("update raw.config_versions set raw_yaml = 'x'", "delete from raw.config_versions"):
        with pytest.raises(RestrictViolation, match="stays as it is: write a new version"), ingest.transaction():
            ingest.execute(statement)


def test_versions_are_hashed_and_numbered_by_configuration(ingest, made):
    other = add(ingest, "raw.configurations", project_id=PROJECT, name="other")["config_id"]
    add_version(ingest, PROJECT, other, "é")
    rows = ingest.execute(
        "select config_id, version_number, config_hash from raw.config_versions order by config_id = %s, 2",
        [other],
    ).fetchall()
    assert [(config, number) for config, number, _ in rows] == [(made.config, 1), (made.config, 2), (other, 1)]
    assert rows[2][2] == "4a99557e4033c3539de2eb65472017cad5f9557f7a0625a09f1c3f6e2ba69c4c"
    ingest.execute(
        "insert into raw.config_versions (project_id, config_id, raw_yaml, parsed_config) "
        "select %s, %s, 'text ' || n, '{}' from generate_series(1, 3) as n",
        [PROJECT, other],
    )
    numbers = ingest.execute("select array_agg(version_number order by version_number) from raw.config_versions "
                             "where config_id = %s", [other]).fetchone()  # fmt: skip
    assert numbers == ([1, 2, 3, 4],)


def test_writers_of_one_configuration_wait_for_each_others_version_number(dsn):
    with connect(dsn, role="tracemill_ingest") as one, connect(dsn, role="tracemill_ingest") as other:
        config = add(one, "raw.configurations", project_id=PROJECT, name="agent")["config_id"]
        one.commit()
        add_version(one, PROJECT, config, "first")
        other.execute("set lock_timeout = '100ms'")
        other.commit()
        with pytest.raises(psycopg.errors.LockNotAvailable), other.transaction():
            add_version(other, PROJECT, config, "second")
        one.commit()
        version = add_version(other, PROJECT, config, "second")
        assert value(other, "select version_number from raw.config_versions where version_id = %s", version) == 2


def test_a_version_has_at_most_one_mebibyte(ingest, made):
    add_version(ingest, PROJECT, made.config, "a" * 1_048_576)
    for text in ("b" * 1_048_577, "é" * 524_289, "b" * 5_000_000):
        with pytest.raises(CheckViolation, match="raw_yaml_is_at_most_1_mib"), ingest.transaction():
            add_version(ingest, PROJECT, made.config, text)


def test_c26_a_configuration_in_use_is_archived_not_deleted(ingest, made):
    with pytest.raises(ForeignKeyViolation), ingest.transaction():
        ingest.execute("delete from raw.configurations")
    ingest.execute("update raw.configurations set is_active = false")


def test_c27_diffs_go_from_an_earlier_to_a_later_version_of_one_configuration(ingest, made):
    other = add(ingest, "raw.configurations", project_id=PROJECT, name="other")["config_id"]
    foreign = add_version(ingest, PROJECT, other, "x")
    first, second = made.versions

    def diff(before, number_before, after, number_after, **columns):
        return {
            "project_id": PROJECT, "config_id": made.config, "version_before": before, "number_before": number_before,
            "version_after": after, "number_after": number_after, "change_summary": {}, **columns,
        }  # fmt: skip

    refused(ingest, CheckViolation, "raw.config_diffs", **diff(second, 2, first, 1))
    refused(ingest, CheckViolation, "raw.config_diffs", **diff(first, 1, first, 1))
    refused(ingest, ForeignKeyViolation, "raw.config_diffs", **diff(foreign, 1, second, 2))
    refused(ingest, ForeignKeyViolation, "raw.config_diffs", **diff(second, 1, first, 2))
    refused(ingest, UniqueViolation, "raw.config_diffs", **diff(first, 1, second, 2))
    third = add_version(ingest, PROJECT, made.config, "third")
    decided = diff(second, 2, third, 3, approval_status="approved")
    refused(ingest, CheckViolation, "raw.config_diffs", **decided)
    refused(ingest, CheckViolation, "raw.config_diffs", **{**decided, "diff_yaml": "x" * 524_289})
    add(ingest, "raw.config_diffs", **decided, approved_by="ana", approved_at=MOMENT)


def test_c28_the_latest_version_is_found_not_stored(ingest, made):
    latest = "select version_id from raw.latest_config_versions"
    assert value(ingest, latest) == made.versions[1]
    ingest.execute("update raw.config_versions set is_deleted = true where version_id = %s", [made.versions[1]])
    assert value(ingest, latest) == made.versions[0]
