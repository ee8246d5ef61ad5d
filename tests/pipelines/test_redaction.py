"""Secrets in texts of other people's code are masked, in time that follows the text, and what is no secret stays readable."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.pipelines.base import letter, run_error
from exporter.redaction import MASK, redact, redacted

S = "hunter2Secret"

SECRETS = [
    f"password={S}", f"PASSWORD : {S}", f"db_password='{S}'", f"password='a b {S}'", f'password="a\\"{S}"', f"password\t=\t{S}", f"password=\n{S}", f"password=>{S}",
    f"passwd:{S}", f"Server=x;Uid=y;Pwd={S};", f"PGPASSWORD={S}", f"MYSQL_PWD={S}", f"pass={S}", f"passcode={S}", f"password%3D{S}", f"password='{S}",
    f'{{"password": "{S}"}}', f'{{\\"password\\": \\"{S}\\"}}', f'{{\\\\"password\\\\": \\\\"{S}\\\\"}}', f"{{'password': '{S}', 'user': 'x'}}", f"('password', '{S}')", f'Password("{S}")',
    f"--password {S}", f"--password={S}", f"--client-secret {S}", f"CREATE USER x PASSWORD '{S}'", f"ALTER USER x IDENTIFIED BY '{S}'", f"<password>{S}</password>", f"secret: |\n  {S}",
    f'"client_secret": ["{S}", "b"]', f"https://x/y?sig={S}&se=1", f"https://x/y?X-Amz-Signature={S}&a=b", f"X-Amz-Credential={S}", f"X-Amz-Security-Token={S}", f"SharedAccessSignature={S}",
    f"AccountKey={S};EndpointSuffix=x", f"fs.azure.account.key.acct.blob.core.windows.net={S}", f"spark.hadoop.fs.s3a.secret.key={S}", f"AWS_SECRET_ACCESS_KEY={S}", f"api_key={S}", f"X-Api-Key: {S}",
    f"access_token={S}", f'refresh_token": "{S}"', f"Authorization: Bearer {S}", f"Authorization: Basic {S}", f"'authorization': 'token {S}'", f"Authorization: Digest username=u, response={S}",
    f"Proxy-Authorization: Bearer {S}", f"Cookie: session={S}", f"Set-Cookie: sid={S}; Path=/", f"jdbc:postgresql://u:{S}@h/db", f"postgresql://u:p@{S}@h/db", f"postgresql://u:a/{S}@h/db",
    f"redis://:{S}@h:6379", f"mongodb+srv://u:{S}@c.example.net", f"https://{S}@github.com/x", f"jdbc:oracle:thin:scott/{S}@//h:1521/x", f"s3://AKIAIOSFODNN7EXAMPLE:{S}@bucket",
    f"-----BEGIN RSA PRIVATE KEY-----\n{S}\n-----END RSA PRIVATE KEY-----", f"-----BEGIN PRIVATE KEY-----\n{S}", f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx.{S}",
]  # fmt: skip
TOKENS = [
    "AKIAIOSFODNN7EXAMPLE", "ghp_" + "a" * 36, "github_pat_11" + "a" * 50, "glpat-" + "a" * 20, "dapi" + "0" * 32, "dose" + "0" * 32, "xoxb-123456789012-abcdef", "sk-ant-" + "a" * 30,
    "AIza" + "A" * 35, "hvs." + "A" * 30, "npm_" + "a" * 36, "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdef",
]  # fmt: skip
HARMLESS = [
    "the token bucket is full", "tokens: 512 of 1024", "max_tokens=4096", "token_count=3", "TokenExpiredError: token expired", "InvalidTokenError: bad", "SecretNotFoundException: x", "KeyError: 'password'",
    'password authentication failed for user "etl"', "the secret is not found", "NoSuchElementException: key not found: 12", "primary_key=order_id", "unique_key=id", "signal: 9", "sig=11", "assigned=3", "design: good",
    "Done. PASS=4 WARN=1 ERROR=1", "passed=3 failed=1", "compass=3", "https://host:8080/a@b", "abfss://container@account.dfs.core.windows.net/x", "s3://bucket/key=1/part-0.parquet",
    "Unexpected token 'FROM' at line 3", '{"token": null, "secret": true}', "postgresql://user@host/db", "Lost task 0.0 in stage 3.0 (TID 5)", "the author: somebody", "container_17 exited with code 137",
]  # fmt: skip


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_masked_wherever_it_stands(text: str) -> None:
    for shown in (redact(text), redact(f"Caused by: x.y.Z: {text}\n\tat a.b(C.java:1)"), redact(json.dumps({"error": text})), redact(json.dumps({"a": json.dumps({"error": text})}))):
        assert S not in shown
        assert MASK in shown


@pytest.mark.parametrize("token", TOKENS)
def test_tokens_of_known_forms_are_masked_without_a_name(token: str) -> None:
    assert redact(f"could not use {token}, giving up") == f"could not use {MASK}, giving up"


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("text", [*SECRETS, *TOKENS, *HARMLESS])
def test_masking_again_changes_nothing(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_what_stands_around_a_secret_stays() -> None:
    assert redact(f"connect(host=db, password={S}, port=5432) failed") == f"connect(host=db, password={MASK}, port=5432) failed"
    assert redact(f"jdbc:postgresql://etl:{S}@db.example.com:5432/x?ssl=1") == f"jdbc:postgresql://etl:{MASK}@db.example.com:5432/x?ssl=1"
    assert redact(f"Authorization: Bearer {S}, status 401") == f"Authorization: Bearer {MASK}, status 401"


def test_json_stays_json_so_that_a_letter_can_be_replayed() -> None:
    payload = {
        "password": S, "token": 123456789, "a_token": True, "secret": None, "credentials": {"user": "u", "key": 1}, "api_keys": [S, S], "text": f'failed: password="{S}", retry',
        "more": [f"Authorization: Bearer {S}", f"postgresql://u:{S}@h/db", f"line\npassword={S}\nnext"], "run_id": 7,
    }  # fmt: skip
    shown = letter(payload, f"token={S}")
    assert S not in shown.payload + shown.reason
    read = json.loads(shown.payload)
    assert (read["run_id"], read["credentials"], read["a_token"], read["token"]) == (7, {"user": "u", "key": 1}, True, 123456789)
    assert read["more"][2] == f"line\npassword={MASK}\nnext"


@given(st.dictionaries(st.sampled_from(["password", "token", "message", "run_id", "x"]), st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("abc =:,\\\"/@{}[]\n", max_size=12), lambda inner: st.lists(inner, max_size=3))))
def test_json_of_any_shape_stays_json(payload: dict[str, object]) -> None:
    json.loads(json.dumps(redacted(payload)))


@given(st.text())
def test_any_text_can_be_masked(text: str) -> None:
    redact(text)
    run_error(text, text)


@pytest.mark.parametrize("text", [
    "password" * 40_000, "sas-" * 80_000, "a" * 300_000, "://" * 100_000, "://a:b" * 50_000, "password=" * 30_000, "password='" * 30_000, "token:" + " " * 300_000, "secret" + "a" * 300_000, "Bearer " * 40_000,
    "-----BEGIN PRIVATE KEY-----" * 10_000, "-----BEGIN " * 30_000, "eyJ" + "a" * 300_000, "eyJaaaaaaaa." * 30_000, "a:" * 150_000 + "@", "authorization" * 20_000, "authorization:" + "'" * 300_000, "\\" * 300_000,
    "password=" + "\\" * 300_000 + '"', 'password=\\"' * 30_000, "password=[" * 30_000, "<password>" * 30_000, "--password " * 30_000, "x.y-z_" * 50_000, "cookie:" * 40_000, "https://" + "a" * 300_000, ":thin:" * 50_000,
])  # fmt: skip
def test_no_text_takes_long(text: str) -> None:
    started = time.process_time()
    redact(text)
    assert time.process_time() - started < 20  # quadratic ones took minutes
