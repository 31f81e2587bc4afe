"""The monitoring views on a real warehouse."""

from datetime import date, timedelta

from pipelines.database import connect
from tests.marts import build, warehouse_environment
from tests.raw_rows import Volume, insert


def test_try(dsn, settings):
    today = date.today()
    volume = Volume(today - timedelta(days=8), days=8, executions_per_day=40, patterns=12, projects=2)
    with warehouse_environment(settings, dsn), connect(dsn) as connection:
        insert(connection, volume)
        build(connection, [volume.first_date + timedelta(days=n) for n in range(8)], command="run")
        for view in ["v_alerts", "v_system_performance", "v_active_simulations", "v_error_rates", "v_table_sizes", "v_index_usage", "v_slow_queries", "v_partition_coverage", "v_rls_coverage", "v_ingest_health", "v_database_health", "v_mart_freshness"]:
            import time; t=time.monotonic()
            rows = connection.execute(f"select * from monitoring.{view}").fetchall()
            print(view, len(rows), round(time.monotonic()-t,3))
            for r in rows[:2 if view != "v_alerts" else 50]: print("   ", r)
        token = connection.execute("select app.open_session('project-1')").fetchone()[0]
        connection.execute("set role app_readonly")
        connection.execute("select set_config('app.token', %s, false)", [token])
        for view in ["v_alerts", "v_system_performance", "v_active_simulations", "v_error_rates", "v_table_sizes", "v_index_usage", "v_slow_queries", "v_partition_coverage", "v_rls_coverage", "v_ingest_health", "v_database_health", "v_mart_freshness"]:
            print(view, connection.execute(f"select count(*) from monitoring.{view}").fetchall())
        assert 0
