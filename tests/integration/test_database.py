def test_a_migrated_database_has_its_search_path(connection):
    assert connection.execute("show search_path").fetchone() == ("marts, monitoring, raw, app, public",)
