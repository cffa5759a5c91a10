"""Alerts sent to real local servers: what arrives, what is refused, and that no error shows a secret."""

import base64
import ipaddress
import ssl
import traceback
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from credit_assets.alerts.channels import ChannelTest, NotDelivered, message_id, send, send_test_alerts, slack
from credit_assets.settings.alerts import AlertsConfig, ChannelConfig, EmailConfig
from credit_assets_tests.alerts.receivers import free_port, http_sink, mail_server
from credit_assets_tests.alerts.test_notifications import ALERT

CONFIG = AlertsConfig(
    email=EmailConfig(to=["risk@example.com", "audit@example.com"], sender="platform@example.com"),
    slack=ChannelConfig(),
    webhook=ChannelConfig(),
)
OTHER = replace(ALERT, key="run_failed/def", severity="warning", title="train <failed> & more")


@pytest.fixture
def sink():
    with http_sink() as sink:
        yield sink


def refusal(channel: str, environ: dict[str, str]) -> NotDelivered:
    with pytest.raises(NotDelivered) as raised:
        send(channel, CONFIG, environ, [ALERT], ALERT.id)
    shown = "".join(traceback.format_exception(raised.value))
    assert "SECRET" not in shown
    return raised.value


def test_email_states_event_place_time_actions_and_link():
    with mail_server() as mailbox:
        assert send("email", CONFIG, {"CREDIT_ASSETS_SMTP_URL": mailbox.url}, [ALERT], ALERT.id) == ""
    [message] = mailbox.messages
    assert mailbox.recipients == [["risk@example.com", "audit@example.com"]]
    assert message["Subject"] == "[credit-assets] ERROR home_credit: ingest of 2026-03 failed"
    assert message["From"] == "platform@example.com"
    assert message["Message-ID"] == f"<{ALERT.id}@credit-assets>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content().strip().splitlines() == [
        "What:  ingest of 2026-03 failed",
        "       bureau: row 7 has no amount",
        "Where: home_credit, batch 2026-03, bureau, no_rows_quarantined",
        "Since: 2026-03-01 09:30 UTC",
        "Done:  The previous version stays.",
        "To do: Deliver it corrected.",
        "Link:  http://localhost:3000/runs/abc",
    ]


def test_email_reports_rejected_recipient_and_reaches_the_others():
    with mail_server() as mailbox:
        mailbox.refused_recipient = "audit@example.com"
        said = send("email", CONFIG, {"CREDIT_ASSETS_SMTP_URL": mailbox.url}, [ALERT], ALERT.id)
    assert said == "the mail server refused audit@example.com"
    assert mailbox.recipients == [["risk@example.com"]]


def test_email_refused_by_mail_server_fails_with_its_code():
    with mail_server() as mailbox:
        mailbox.refusal = "451 try later, SECRET"
        error = refusal("email", {"CREDIT_ASSETS_SMTP_URL": mailbox.url})
    assert str(error) == "the mail server answered 451 (SMTPDataError)"


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's certificate for 127.0.0.1, which this process trusts."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    return context


def accepts_login(
    server: object, session: object, envelope: object, mechanism: str, login: LoginPassword
) -> AuthResult:
    return AuthResult(success=(login.login, login.password) == (b"platform@home", b"SECRET/pass"), handled=False)


def with_login(url: str, password: str = "SECRET%2Fpass") -> dict[str, str]:
    return {"CREDIT_ASSETS_SMTP_URL": url.replace("smtp://", f"smtp://platform%40home:{password}@")}


def test_password_is_sent_over_encrypted_session(certificate):
    with mail_server(tls_context=certificate, authenticator=accepts_login, auth_required=True) as mailbox:
        send("email", CONFIG, with_login(mailbox.url), [ALERT], ALERT.id)
        error = refusal("email", with_login(mailbox.url, "SECRET-wrong"))
    assert len(mailbox.messages) == 1
    assert str(error) == "the mail server answered 535 (SMTPAuthenticationError)"


def test_password_that_smtp_cannot_send_is_reported_without_showing_it(certificate):
    with mail_server(tls_context=certificate, authenticator=accepts_login, auth_required=True) as mailbox:
        error = refusal("email", with_login(mailbox.url, "SECRET-p%C3%A4ss"))
    words = "the user or password in CREDIT_ASSETS_SMTP_URL contains characters outside ASCII, which cannot be sent"
    assert str(error) == words
    assert "p\u00e4ss" not in "".join(traceback.format_exception(error))


def test_unexpected_error_is_reported_by_its_kind():
    """The host name is invalid, so the error is no network error; its message would repeat the address."""
    error = refusal("email", {"CREDIT_ASSETS_SMTP_URL": f"smtp://{'SECRET' * 20}.example.com"})
    assert str(error) == "UnicodeError"


def test_untrusted_certificate_is_refused(certificate, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    with mail_server(tls_context=certificate) as mailbox:
        error = refusal("email", with_login(mailbox.url))
    assert "certificate" in str(error)
    assert mailbox.messages == []


def test_password_is_not_sent_unencrypted():
    with mail_server(authenticator=accepts_login, auth_require_tls=False) as mailbox:
        error = refusal("email", with_login(mailbox.url))
    assert str(error) == "the mail server offers no encryption, so the password was not sent"


@pytest.mark.parametrize("url", ["mail.example.com", "http://SECRET@mail", "smtp://user:SECRET@host:port", "smtp://"])
def test_invalid_smtp_address_is_refused_without_repeating_it(url):
    error = refusal("email", {"CREDIT_ASSETS_SMTP_URL": url})
    assert str(error) == "CREDIT_ASSETS_SMTP_URL is not of the form smtp[s]://user:password@host:port"


def test_slack_message_is_a_section_in_slack_markup(sink):
    send("slack", CONFIG, {"CREDIT_ASSETS_SLACK_URL": sink.url}, [OTHER], OTHER.id)
    [body] = sink.posted
    assert body["text"] == "WARNING home_credit: train &lt;failed&gt; &amp; more"
    [section] = body["blocks"]
    assert section["text"]["type"] == "mrkdwn"
    assert "Where: home_credit, batch 2026-03" in section["text"]["text"]
    assert "http://localhost:3000/runs/abc" in section["text"]["text"]


def test_longest_slack_alert_keeps_its_link():
    longest = replace(
        ALERT, title="t" * 5000, details="d" * 5000, what_was_done="w" * 5000, what_to_do="o" * 5000
    ).truncated()
    [section] = slack([longest])["blocks"]
    assert section["text"]["text"].endswith("http://localhost:3000/runs/abc")
    assert len(section["text"]["text"]) <= 3000


def test_slack_bundle_of_a_hundred_alerts_stays_within_limits():
    """Slack allows 50 blocks of 3,000 characters each."""
    body = slack([replace(ALERT, key=str(n), title=f"{n} " + "y" * 190) for n in range(100)])
    assert len(body["blocks"]) <= 50
    assert all(len(block["text"]["text"]) <= 3000 for block in body["blocks"])
    assert "99 yyy" in body["blocks"][-1]["text"]["text"]


def test_webhook_receives_json_with_id_that_identifies_repetitions(sink):
    environ = {"CREDIT_ASSETS_WEBHOOK_URL": sink.url, "CREDIT_ASSETS_WEBHOOK_TOKEN": "SECRET-token"}
    send("webhook", CONFIG, environ, [ALERT], ALERT.id)
    [body], [headers] = sink.posted, sink.headers
    assert body == {
        "id": ALERT.id,
        "key": "run_failed/abc",
        "kind": "run_failed",
        "severity": "error",
        "title": "ingest of 2026-03 failed",
        "details": "bureau: row 7 has no amount",
        "portfolio": "home_credit",
        "batch": "2026-03",
        "parts": ["bureau", "no_rows_quarantined"],
        "since": "2026-03-01T09:30:00+00:00",
        "what_was_done": "The previous version stays.",
        "what_to_do": "Deliver it corrected.",
        "link": "http://localhost:3000/runs/abc",
    }
    assert headers["Idempotency-Key"] == ALERT.id
    assert headers["Authorization"] == "Bearer SECRET-token"


def test_bundle_holds_every_alert_under_one_id(sink):
    alerts = [ALERT, OTHER]
    send("webhook", CONFIG, {"CREDIT_ASSETS_WEBHOOK_URL": sink.url}, alerts, message_id(alerts))
    [body] = sink.posted
    assert body["kind"] == "digest"
    assert [alert["id"] for alert in body["alerts"]] == [ALERT.id, OTHER.id]
    assert body["id"] == message_id([OTHER, ALERT]) != ALERT.id
    with mail_server() as mailbox:
        send("email", CONFIG, {"CREDIT_ASSETS_SMTP_URL": mailbox.url}, alerts, message_id(alerts))
    [message] = mailbox.messages
    assert message["Subject"] == "[credit-assets] ERROR home_credit: 2 alerts in one message"
    assert message.get_content().count("What:  ") == 2


def test_post_does_not_send_netrc_password(sink, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password SECRET\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    send("slack", CONFIG, {"CREDIT_ASSETS_SLACK_URL": sink.url}, [ALERT], ALERT.id)
    assert "Authorization" not in sink.headers[0]
    assert base64.b64encode(b"me:SECRET").decode() not in str(sink.headers)


@pytest.mark.parametrize("status", [302, 400, 404, 500])
def test_any_status_but_success_is_a_failure(sink, status):
    sink.answers = [status]
    sink.answer_headers = {"Location": sink.url}
    error = refusal("webhook", {"CREDIT_ASSETS_WEBHOOK_URL": sink.url})
    assert str(error) == f"the server answered {status}"
    assert sink.posted == []


def test_retry_after_of_server_is_respected(sink):
    sink.answers, sink.answer_headers = [429], {"Retry-After": "120"}
    assert refusal("slack", {"CREDIT_ASSETS_SLACK_URL": sink.url}).wait_s == 120


def test_refused_connection_is_reported_without_the_address():
    port = free_port()
    error = refusal("slack", {"CREDIT_ASSETS_SLACK_URL": f"http://127.0.0.1:{port}/SECRET"})
    assert str(error) == "ConnectionError: Connection refused"
    error = refusal("email", {"CREDIT_ASSETS_SMTP_URL": f"smtp://user:SECRET@127.0.0.1:{port}"})
    assert str(error) == "ConnectionRefusedError: Connection refused"


@pytest.mark.parametrize("url", ["hooks.example.com/SECRET", "ftp://SECRET", "https://", "http://[SECRET"])
def test_invalid_web_address_is_refused_without_repeating_it(url):
    assert str(refusal("webhook", {"CREDIT_ASSETS_WEBHOOK_URL": url})) == "CREDIT_ASSETS_WEBHOOK_URL is not a valid URL"


def test_try_channels_tries_each_and_names_missing_variable(sink):
    tried = send_test_alerts("home_credit", CONFIG, {"CREDIT_ASSETS_WEBHOOK_URL": sink.url}, 0.0)
    assert tried == {
        "email": ChannelTest(False, "CREDIT_ASSETS_SMTP_URL is not set"),
        "slack": ChannelTest(False, "CREDIT_ASSETS_SLACK_URL is not set"),
        "webhook": ChannelTest(True, ""),
    }
    assert sink.posted[0]["kind"] == "test"
