"""Alerts reach people: real HTTP and SMTP servers on the loopback interface, and Dagster's own evaluation."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from pipelines.database import connect
from pipelines.defs.resources import Warehouse
from pipelines.maintenance import alerts
from pipelines.maintenance.senders import LogSender, MailSender, Sender, WebhookSender, senders
from pipelines.settings import REPOSITORY, AlertSettings, Settings
from tests.dagster_world import World, dagster_world
from tests.embedding_endpoint import Endpoint, serving, status
from tests.smtp_sink import receiving

MAIL = AlertSettings(mail_from="tracemill@example.com", mail_to=("ops@example.com", "ada@example.com"))


@pytest.fixture
def platform(monitored: Settings) -> Iterator[psycopg.Connection]:
    """Connection that alerts are sent with; what fires at the start is taken as told."""
    with connect(monitored.database_url or "", role=alerts.ROLE, autocommit=True) as connection:
        connection.execute("delete from ops.alert_states")
        yield connection
        connection.execute("delete from ops.touched_days")
        connection.execute("delete from ops.alert_states")


def provoke(connection: psycopg.Connection) -> None:
    connection.execute(
        "insert into ops.touched_days (project_id, activity_date, touched_at) "
        "values ('alpha', '2026-01-05', now() - interval '30 hours') on conflict do nothing"
    )


def mend(connection: psycopg.Connection) -> None:
    connection.execute("delete from ops.touched_days")


def send(connection: psycopg.Connection, *channels: Sender) -> alerts.Delivery:
    alerts.note_firing(connection, [sender.channel for sender in channels])
    return alerts.deliver(connection, channels)


def titles(endpoint: Endpoint) -> list[list[str]]:
    return [[attachment["title"] for attachment in request["attachments"]] for request in endpoint.requests]


def test_each_channel_is_told_once_when_it_fires_and_once_when_it_clears(platform: psycopg.Connection) -> None:
    written: list[str] = []
    with serving(status(200)) as webhook, receiving() as sink:
        settings = replace(MAIL, webhook_url=webhook.url, smtp_url=sink.url)
        channels = senders(settings, written.append)
        send(platform, *channels)  # the cost spike that is there from the start
        written.clear(), webhook.requests.clear(), sink.messages.clear(), sink.recipients.clear()

        provoke(platform)
        first = send(platform, *channels)
        again = send(platform, *channels)
        mend(platform)
        cleared = send(platform, *channels)
        last = send(platform, *channels)

    everywhere = dict.fromkeys(("log", "webhook", "e-mail"), 1)
    assert (first.sent, first.cleared, first.failures) == (everywhere, {}, {})
    assert (cleared.sent, cleared.cleared) == ({}, everywhere)
    assert (again, last) == (alerts.Delivery(), alerts.Delivery())
    assert titles(webhook) == [["CRITICAL stale_mart: alpha marts"], ["CLEARED stale_mart: alpha marts"]]
    fired = webhook.requests[0]
    assert fired["text"] == "tracemill: 1 alert, 1 critical"
    assert "waiting_days 1" in fired["attachments"][0]["text"]
    assert "→ tracemill aggregate" in fired["attachments"][0]["text"]
    assert [message["Subject"] for message in sink.messages] == [
        "tracemill: 1 alert, 1 critical",
        "tracemill: 1 cleared",
    ]
    assert sink.recipients == ["ops@example.com", "ada@example.com"] * 2
    assert "tracemill aggregate" in sink.messages[0].get_payload(decode=True).decode()
    assert [text.splitlines()[0] for text in written] == [
        "CRITICAL stale_mart: alpha marts", "CLEARED stale_mart: alpha marts"
    ]  # fmt: skip
    assert platform.execute("select count(*) from ops.alert_states where alert = 'stale_mart'").fetchone() == (0,)


def test_a_dead_channel_is_named_and_told_when_it_is_back_while_others_are_told_at_once(
    platform: psycopg.Connection,
) -> None:
    provoke(platform)
    with serving(status(404)) as broken, receiving() as sink:
        mail = MailSender(replace(MAIL, smtp_url=sink.url))
        delivery = send(platform, WebhookSender(broken.url), mail)
        assert delivery.failures == {
            "webhook": "The webhook at 127.0.0.1 answers HTTP 404: check TRACEMILL_ALERT_WEBHOOK_URL."
        }
        assert delivery.sent == {"e-mail": 2}
        mend(platform)
        assert send(platform, WebhookSender(broken.url), mail).cleared == {"e-mail": 1}
    with serving(status(200)) as mended:
        back = send(platform, WebhookSender(mended.url), LogSender(print))
    assert (back.sent["webhook"], back.cleared["webhook"]) == (2, 1), "it fired and cleared while nobody listened"
    (stale, spike), (cleared,) = titles(mended)
    assert (stale, cleared) == ("CRITICAL stale_mart: alpha marts", "CLEARED stale_mart: alpha marts")
    assert spike.startswith("WARNING cost_spike: spender")


def test_what_passes_is_tried_again_and_what_does_not_answer_is_left(platform: psycopg.Connection) -> None:
    with serving(status(503), status(429), status(200)) as webhook, receiving(refusals=2) as sink:
        mail = MailSender(replace(MAIL, smtp_url=sink.url))
        assert send(platform, WebhookSender(webhook.url), mail).failures == {}
        assert (len(webhook.requests), len(sink.messages)) == (3, 1)
    provoke(platform)
    delivery = send(platform, WebhookSender("http://127.0.0.1:9/services/secret"), mail)
    assert set(delivery.failures) == {"webhook", "e-mail"}
    assert "secret" not in json.dumps(delivery.failures)


def test_a_password_is_not_sent_to_a_server_without_encryption(platform: psycopg.Connection) -> None:
    with receiving() as sink:
        url = sink.url.replace("smtp://", "smtp://ada:hunter2@")
        delivery = send(platform, MailSender(replace(MAIL, smtp_url=url)))
        assert sink.messages == []
    assert "no encryption" in delivery.failures["e-mail"]
    assert "hunter2" not in repr(replace(MAIL, smtp_url=url)) + str(delivery)


def test_a_mail_server_that_cannot_be_named_is_a_failure_and_others_are_told(platform: psycopg.Connection) -> None:
    provoke(platform)
    delivery = send(
        platform, MailSender(replace(MAIL, smtp_url="smtp://ada:hunter2@mail..example.com")), LogSender(print)
    )
    assert delivery.sent == {"log": 2}
    assert "TRACEMILL_ALERT_SMTP_URL has characters that SMTP does not know" in delivery.failures["e-mail"]
    assert "hunter2" not in str(delivery)


@pytest.mark.parametrize("before", [420, 430])
def test_no_part_of_a_secret_in_a_long_error_is_told(platform: psycopg.Connection, before: int) -> None:
    written: list[str] = []
    detail = f"{'x' * before} postgresql://ada:correct-horse-battery-staple@db/warehouse refused {'y' * 100}"
    alerts.note_failed_run(platform, ["log"], job="nightly_aggregation", run_id="4711", detail=detail)
    alerts.deliver(platform, [LogSender(written.append)])
    assert "x" * before in written[0]
    assert "horse" not in written[0]
    assert "y" * 100 not in written[0]


def test_what_becomes_critical_is_told_again(platform: psycopg.Connection) -> None:
    provoke(platform)
    send(platform, LogSender(lambda text: None))
    platform.execute("update ops.alert_states set severity = 'warning' where alert = 'stale_mart'")
    assert send(platform, LogSender(lambda text: None)).sent == {"log": 1}
    assert send(platform, LogSender(lambda text: None)).sent == {}


def test_two_deliveries_at_once_tell_everything_once(platform: psycopg.Connection, monitored: Settings) -> None:
    provoke(platform)

    def deliver(url: str) -> alerts.Delivery:
        with connect(monitored.database_url or "", role=alerts.ROLE, autocommit=True) as own:
            return send(own, WebhookSender(url))

    with serving(status(200)) as webhook, ThreadPoolExecutor(4) as pool:
        deliveries = list(pool.map(deliver, [webhook.url] * 4))
    assert sum(delivery.sent.get("webhook", 0) for delivery in deliveries) == 2
    assert sum(map(len, titles(webhook))) == 2


def test_health_shows_what_fires_and_exits_with_one_only_where_something_is_critical(
    platform: psycopg.Connection,
    monitored: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TRACEMILL_DATABASE_URL", monitored.database_url or "")
    from pipelines.cli.health import health

    assert health(as_json=False) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("WARNING   cost_spike (spender): ")
    assert "1 alert, 0 critical. Next: tracemill query" in shown
    provoke(platform)
    assert health(as_json=True) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["ok"], report["critical"], report["next_command"]) == (False, 1, "tracemill aggregate")
    assert [alert["alert"] for alert in report["alerts"]] == ["stale_mart", "cost_spike"]
    assert report["alerts"][0]["evidence"]["limit_hours"] == 26


def test_doctor_shows_what_fires_and_exits_with_one_only_where_something_is_critical(
    platform: psycopg.Connection,
    monitored: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TRACEMILL_DATABASE_URL", monitored.database_url or "")
    monkeypatch.setenv("TRACEMILL_HOME", str(monitored.home))
    from pipelines.cli.doctor import doctor

    assert doctor(as_json=False) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^note +alert +cost_spike \(spender\): .*\n +→ tracemill query", shown, re.MULTILINE)
    assert "Everything is fine." not in shown
    provoke(platform)
    assert doctor(as_json=True) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    (stale,) = [finding for finding in findings if finding["detail"].startswith("stale_mart (alpha)")]
    assert (stale["state"], stale["remedy"]) == ("problem", "tracemill aggregate")


def test_doctor_does_not_send_people_in_a_circle(
    operator: psycopg.Connection,
) -> None:
    operator.execute(
        "delete from raw.command_executions where project_id = 'beta' and timestamp > now() - interval '5 hours'"
    )
    silence = next(alert for alert in alerts.firing(operator) if alert.alert == "silence")
    assert silence.command == "tracemill doctor"
    from pipelines.cli.doctor import firing_alerts

    (finding,) = [finding for finding in firing_alerts(operator) if "silence" in finding.detail]
    assert finding.remedy == "docs/runbooks/alerts.md, silence"
    assert (finding.state, finding.detail) == ("note", f"silence (beta): {silence.summary}")


def test_health_says_what_to_do_before_the_first_aggregation(dsn: str) -> None:
    with (
        connect(dsn, role=alerts.ROLE, autocommit=True) as connection,
        pytest.raises(alerts.MonitoringMissingError, match="tracemill aggregate"),
    ):
        alerts.firing(connection)


@pytest.fixture
def world(
    monitored: Settings, platform: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    with dagster_world(lambda: nullcontext(monitored.database_url or ""), tmp_path, days=1) as made:
        yield made


def test_dagster_sends_alerts_and_what_failed_in_dagster(
    world: World, platform: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.definitions import defs

    repository = defs.get_repository_def()
    with dg.DagsterInstance.get() as instance, serving(status(200)) as webhook:
        monkeypatch.setenv("TRACEMILL_ALERT_WEBHOOK_URL", webhook.url)
        send_alerts = defs.resolve_job_def("send_alerts")
        assert send_alerts.execute_in_process(instance=instance).success
        ((spike,),) = titles(webhook)
        assert spike.startswith("WARNING cost_spike")
        webhook.requests.clear()

        sensor = repository.get_sensor_def("run_failures")

        def tick(cursor: str | None) -> str | None:
            context = dg.build_sensor_context(
                instance, cursor=cursor, repository_def=repository, resources={"warehouse": Warehouse()}
            )
            return sensor.evaluate_tick(context).cursor

        cursor = tick(None)
        provoke(platform)
        webhook.answers = [status(500)]
        dead = send_alerts.execute_in_process(instance=instance, raise_on_error=False)
        assert not dead.success, "a dead webhook fails the run"
        cursor = tick(cursor)
        webhook.answers, webhook.requests = [status(200)], []
        failed = defs.resolve_job_def("ingest_logs").execute_in_process(
            instance=instance, raise_on_error=False,
            run_config={"ops": {"raw_executions": {"config": {"paths": ["/nowhere/at/all"]}}}},
        )  # fmt: skip
        assert not failed.success
        cursor = tick(cursor)
        cursor = tick(cursor)
        told = [attachment for request in webhook.requests for attachment in request["attachments"]]
        assert sorted(attachment["title"].split(":")[0] for attachment in told) == [
            "CRITICAL run_failed", "CRITICAL stale_mart"
        ]  # fmt: skip
        run = next(attachment for attachment in told if "run_failed" in attachment["title"])
        assert "/nowhere/at/all" in run["text"]
        assert failed.run_id in run["text"]

    schedule = repository.get_schedule_def("send_alerts_schedule")
    assert (schedule.cron_schedule, schedule.job_name) == ("*/15 * * * *", "send_alerts")


def test_naming_a_channel_switches_the_alerts_on() -> None:
    code = (
        "from pipelines.defs.alerts import run_failures, send_alerts_schedule as schedule\n"
        "print(schedule.default_status.name, run_failures.default_status.name)"
    )
    outcome = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=120,
        env={"TRACEMILL_ALERT_WEBHOOK_URL": "https://hooks.example.com/x"},
    )  # fmt: skip
    assert outcome.stdout.strip() == "RUNNING RUNNING", outcome.stderr
