"""The catalogue itself: who may do what, read from PostgreSQL after the migrations."""

import pytest

TENANT_ROLES = ("service_role", "authenticated", "app_user", "app_admin", "app_readonly")
OUR_SCHEMAS = ["raw", "partitions", "app", "audit", "priv", "ops", "staging", "intermediate", "marts", "monitoring"]


def test_every_tenant_table_has_row_level_security_that_holds_for_its_owner_too(connection):
    connection.execute("select ops.ensure_month_partitions('2026-01-01', '2026-02-01')")
    rows = connection.execute(
        """
        select n.nspname, c.relname, c.relrowsecurity, c.relforcerowsecurity
        from pg_class as c
        join pg_namespace as n on n.oid = c.relnamespace
        join pg_attribute as a on a.attrelid = c.oid and a.attname = 'project_id' and not a.attisdropped
        where n.nspname in ('raw', 'partitions', 'app', 'audit') and c.relkind in ('r', 'p')
        """
    ).fetchall()
    assert {schema for schema, *_ in rows} == {"raw", "partitions", "app", "audit"}
    assert [(schema, table) for schema, table, enabled, _ in rows if not enabled] == []
    assert [(schema, table) for schema, table, _, forced in rows if not forced and schema != "partitions"] == []


def test_every_table_that_tenants_may_enter_belongs_to_projects(connection):
    """A table without project_id would be open to all of them; list prices are."""
    rows = connection.execute(
        """
        select c.oid::regclass::text
        from pg_class as c
        where c.relnamespace::regnamespace::text in ('raw', 'app', 'audit') and c.relkind in ('r', 'p', 'v', 'm', 'f')
            and not exists (
                select from pg_attribute as a
                where a.attrelid = c.oid and a.attname = 'project_id' and not a.attisdropped
            )
        """
    ).fetchall()
    assert rows == [("model_prices",)]


def test_every_tenant_table_has_the_two_policies_and_no_other(connection):
    rows = connection.execute(
        """
        select t.oid::regclass::text, array_agg(p.polname::text order by p.polname),
            bool_and(p.polname = 'platform_all' or p.polcmd = 'r'),
            bool_and(p.polname = 'platform_all' or pg_get_expr(p.polqual, p.polrelid) ~ 'current_projects')
        from pg_class as t
        left join pg_policy as p on p.polrelid = t.oid
        where t.relnamespace::regnamespace::text in ('raw', 'app', 'audit') and t.relkind in ('r', 'p')
            and t.oid <> 'app.model_prices'::regclass
        group by t.oid
        """
    ).fetchall()
    assert len(rows) > 20
    assert [row for row in rows if row[1:] != (["own_projects", "platform_all"], True, True)] == []


def test_every_view_shows_what_its_reader_may_see_and_nothing_is_materialized(connection):
    rows = connection.execute(
        """
        select oid::regclass::text, relkind, coalesce(reloptions, '{}')
        from pg_class
        where relnamespace::regnamespace::text in ('raw', 'app', 'audit') and relkind in ('v', 'm', 'f')
        """
    ).fetchall()
    assert rows, "there are views"
    assert [name for name, kind, options in rows if kind != b"v" and kind != "v"] == []
    assert [name for name, _, options in rows if "security_invoker=true" not in options] == []


def test_every_primary_unique_and_foreign_key_begins_with_the_project(connection):
    """So one project's keys neither meet another's nor tell of them. Foreign keys name it on both sides."""
    rows = connection.execute(
        """
        select c.conrelid::regclass::text, c.conname, a.attname, f.attname
        from pg_constraint as c
        join pg_attribute as a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
        left join pg_attribute as f on f.attrelid = c.confrelid and f.attnum = c.confkey[1]
        where c.connamespace::regnamespace::text in ('raw', 'app', 'audit') and c.contype in ('p', 'u', 'f', 'x')
            and c.conrelid <> 'app.model_prices'::regclass
        """
    ).fetchall()
    assert len(rows) > 40
    assert [row for row in rows if row[2] != "project_id" or row[3] not in (None, "project_id")] == []
    unique_indexes = connection.execute(
        """
        select i.indexrelid::regclass::text
        from pg_index as i
        join pg_class as t on t.oid = i.indrelid
        left join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
        where i.indisunique and t.relnamespace::regnamespace::text in ('raw', 'app', 'audit')
            and t.oid <> 'app.model_prices'::regclass and a.attname is distinct from 'project_id'
        """
    ).fetchall()
    assert unique_indexes == []


def test_no_sequence_counts_rows_of_all_projects(connection):
    rows = connection.execute(
        "select oid::regclass::text from pg_class where relkind = 'S' "
        "and relnamespace::regnamespace::text in ('raw', 'app', 'audit', 'marts', 'monitoring')"
    ).fetchall()
    assert rows == []


def test_every_partition_lies_where_tenants_have_no_rights(connection):
    connection.execute("select ops.ensure_month_partitions('2026-01-01', '2026-02-01')")
    schemas = connection.execute("select distinct relnamespace::regnamespace::text from pg_class where relispartition")
    assert {name for (name,) in schemas if not name.startswith("pg_")} <= {"partitions"}, (
        "indexes of partitions included"
    )


@pytest.mark.parametrize("schema", ["partitions", "priv", "ops", "staging", "intermediate"])
def test_tenant_roles_cannot_enter_internal_schemas(connection, schema):
    entered = [
        role
        for role in TENANT_ROLES
        if connection.execute("select has_schema_privilege(%s, %s, 'usage')", [role, schema]).fetchone() == (True,)
    ]
    assert entered == []


def test_grants_make_the_three_owners_true(connection):
    """Ingest writes raw, dbt the derived schemas, tenants only read: exactly these rights, no others."""
    granted = connection.execute(
        """
        select a.grantee::regrole::text, string_agg(distinct a.privilege_type, ' ' order by a.privilege_type)
        from pg_class as c, aclexplode(c.relacl) as a
        where c.relnamespace = 'raw'::regnamespace and a.grantee <> c.relowner
        group by a.grantee
        """
    ).fetchall()
    assert dict(granted) == {
        "tracemill_ingest": "DELETE INSERT SELECT UPDATE",
        "tracemill_dbt": "SELECT",
        "tracemill_maintenance": "INSERT SELECT",
        **dict.fromkeys(TENANT_ROLES, "SELECT"),
    }
    creators = connection.execute(
        """
        select n.nspname, r.rolname
        from pg_namespace as n, pg_roles as r
        where n.nspname = any(%s) and r.rolname = any(%s) and has_schema_privilege(r.oid, n.oid, 'create')
        """,
        [[*OUR_SCHEMAS, "public"], ["tracemill_ingest", "tracemill_dbt", "tracemill_maintenance", *TENANT_ROLES]],
    ).fetchall()
    assert set(creators) == {(schema, "tracemill_dbt") for schema in ("staging", "intermediate", "marts", "monitoring")}


def test_nobody_but_the_owner_may_truncate_or_reference_a_table(connection):
    rows = connection.execute(
        """
        select c.oid::regclass::text, a.grantee::regrole::text, a.privilege_type
        from pg_class as c, aclexplode(c.relacl) as a
        where c.relnamespace::regnamespace::text = any(%s) and a.grantee <> c.relowner
            and a.privilege_type in ('TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN')
        """,
        [OUR_SCHEMAS],
    ).fetchall()
    assert rows == []


def test_functions_with_their_owners_rights_have_a_pinned_search_path(connection):
    """But for those whose body was bound to what its names meant when they were made."""
    rows = connection.execute(
        """
        select oid::regprocedure::text, proconfig
        from pg_proc where prosecdef and prosqlbody is null and pronamespace::regnamespace::text = any(%s)
        """,
        [OUR_SCHEMAS],
    ).fetchall()
    assert rows, "the project has such functions"
    unpinned = [name for name, config in rows if "search_path=pg_catalog, pg_temp" not in (config or [])]
    assert unpinned == []


@pytest.mark.parametrize("owner", ["tracemill_owner", "tracemill_dbt"])
def test_no_function_is_executable_by_everybody_not_even_a_new_one(connection, owner):
    schema = "raw" if owner == "tracemill_owner" else "marts"
    connection.execute(f"set local role {owner}")
    connection.execute(f"create function {schema}.later() returns integer language sql as 'select 1'")
    rows = connection.execute(
        """
        select p.oid::regprocedure::text
        from pg_proc as p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as a
        where p.pronamespace::regnamespace::text = any(%s) and a.grantee = 0
        """,
        [OUR_SCHEMAS],
    ).fetchall()
    assert rows == []


def test_platform_roles_cannot_log_in_and_do_not_inherit(connection):
    rows = connection.execute(
        """
        select rolname, rolcanlogin, rolinherit, rolsuper or rolcreaterole or rolcreatedb or rolbypassrls
        from pg_roles where rolname = any(%s)
        """,
        [["tracemill_owner", "tracemill_ingest", "tracemill_dbt", "tracemill_maintenance", *TENANT_ROLES]],
    ).fetchall()
    assert len(rows) == 9
    assert {flags for _, *flags_list in rows for flags in [tuple(flags_list)]} == {(False, False, False)}


def test_extensions_are_there(connection):
    rows = connection.execute("select extname, extnamespace::regnamespace::text from pg_extension")
    assert {"vector", "btree_gin", "btree_gist", "pg_trgm", "pg_stat_statements"} <= {
        name for name, schema in rows if schema == "public"
    }
