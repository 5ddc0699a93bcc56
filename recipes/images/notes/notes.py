#!/usr/bin/python3
"""notes: keeps short texts in a MariaDB table.

    GET  /             the page: a form and the notes, newest first
    GET  /api/notes    the notes as JSON
    POST /api/notes    adds one: {"body": "..."}; 201 with the note, 400 for an empty or long one
    GET  /api/notes/N  one note, 404 if there is none
    POST /api/notes/N/pin   (from 1.1.0) puts it on top; needs the header X-Notes-Admin with the admin token
    GET  /health       "ok" when the database answers, 503 otherwise
    GET  /version      the application's version

Configuration is /etc/notes.ini: [site] title, [database] host, name, user, password_file, [admin] token.
"""

import configparser
import hmac
import html
import json
import os
import pathlib
import re
import signal
import sys
import time
from urllib.parse import parse_qs

import pymysql
import waitress

VERSION = os.environ.get("NOTES_VERSION", "0")
CONFIG = os.environ.get("NOTES_CONFIG", "/etc/notes.ini")
MIGRATIONS = pathlib.Path("/usr/local/share/notes/migrations")
HAS_PINS = (MIGRATIONS / "0002-pinned.sql").exists()
BODY_MAX = 2000


def read_config():
    config = configparser.ConfigParser(interpolation=None)
    if not config.read(CONFIG):
        sys.exit(f"notes: cannot read {CONFIG}")
    return config


CONFIGURATION = read_config()
DATABASE = CONFIGURATION["database"]


def connect():
    password = pathlib.Path(DATABASE["password_file"]).read_text(encoding="utf-8").rstrip("\n")
    return pymysql.connect(
        host=DATABASE["host"], user=DATABASE["user"], password=password, database=DATABASE["name"],
        charset="utf8mb4", autocommit=True, connect_timeout=3, read_timeout=10,
        cursorclass=pymysql.cursors.DictCursor,
    )


def query(sql, *arguments):
    """Runs one statement; gives back (rows, id of the row that was added)."""
    connection = connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql, arguments)
            return cursor.fetchall(), cursor.lastrowid
    finally:
        connection.close()


def migrate():
    """Applies the migrations in order. Each can be applied twice, so two instances may start at once."""
    for path in sorted(MIGRATIONS.glob("*.sql")):
        query(path.read_text(encoding="utf-8"))
        print(f"notes: migration {path.stem} in place", flush=True)


def wait_for_database(seconds=60):
    """The database has no name on the network before it is healthy: wait for it, then give up loudly."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            query("SELECT 1")
            return
        except (pymysql.err.OperationalError, OSError) as error:
            if time.monotonic() > deadline:
                sys.exit(f"notes: no database at {DATABASE['host']} after {seconds} s: {error.args[-1]}")
            time.sleep(0.2)


def all_notes():
    order = "pinned DESC, id DESC" if HAS_PINS else "id DESC"
    pinned = ", pinned" if HAS_PINS else ""
    rows, _ = query(f"SELECT id, body, created{pinned} FROM notes ORDER BY {order} LIMIT 200")
    return [as_note(row) for row in rows]


def one_note(number):
    pinned = ", pinned" if HAS_PINS else ""
    rows, _ = query(f"SELECT id, body, created{pinned} FROM notes WHERE id = %s", number)
    return as_note(rows[0]) if rows else None


def as_note(row):
    note = {"id": row["id"], "body": row["body"], "created": row["created"].isoformat() + "Z"}
    if HAS_PINS:
        note["pinned"] = bool(row["pinned"])
    return note


def page():
    title = html.escape(CONFIGURATION["site"]["title"])
    items = "".join(f"<li>{html.escape(note['body'])}</li>" for note in all_notes())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        "<style>body{font:1.1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;color:#1c2733}"
        "input{font:inherit;padding:.4rem;width:70%}button{font:inherit;padding:.4rem 1rem}</style>"
        f"<h1>{title}</h1><form method=post action=/><input name=body maxlength={BODY_MAX} aria-label=Note required>"
        f" <button>Add</button></form><ul>{items}</ul><p><small>notes {html.escape(VERSION)}</small></p></html>"
    )


def add(body):
    body = body.strip()
    if not body or len(body) > BODY_MAX:
        return None
    _, number = query("INSERT INTO notes (body) VALUES (%s)", body)
    return one_note(number)


def as_json(status, value):
    return status, "application/json", json.dumps(value, ensure_ascii=False) + "\n"


def error(status, message):
    return as_json(status, {"error": message})


def pin(environ, number):
    token = CONFIGURATION["admin"]["token"]
    if not token or not hmac.compare_digest(environ.get("HTTP_X_NOTES_ADMIN", "").encode(), token.encode()):
        return error("403 Forbidden", "the admin token is needed to pin a note")
    query("UPDATE notes SET pinned = TRUE WHERE id = %s", number)
    note = one_note(number)
    return as_json("200 OK", note) if note else error("404 Not Found", "no such note")


def posted_body(environ):
    length = int(environ.get("CONTENT_LENGTH") or 0)
    text = environ["wsgi.input"].read(length).decode("utf-8", "replace")
    if environ.get("CONTENT_TYPE", "").startswith("application/json"):
        try:
            value = json.loads(text)
        except ValueError:
            return ""
        body = value.get("body") if isinstance(value, dict) else None
        return body if isinstance(body, str) else ""
    return parse_qs(text).get("body", [""])[0]


def respond(environ):
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    read = method in ("GET", "HEAD")
    numbered = re.fullmatch(r"/api/notes/(\d{1,9})(/pin)?", path)
    if path == "/health" and read:
        query("SELECT 1")
        return "200 OK", "text/plain", "ok\n"
    if path == "/version" and read:
        return "200 OK", "text/plain", VERSION + "\n"
    if path == "/" and read:
        return "200 OK", "text/html; charset=utf-8", page()
    if path == "/" and method == "POST":
        add(posted_body(environ))
        return "303 See Other", "text/plain", "\n"
    if path == "/api/notes" and read:
        return as_json("200 OK", all_notes())
    if path == "/api/notes" and method == "POST":
        note = add(posted_body(environ))
        return as_json("201 Created", note) if note else error("400 Bad Request", f"body: 1 to {BODY_MAX} characters")
    if numbered and numbered[2] and HAS_PINS and method == "POST":
        return pin(environ, int(numbered[1]))
    if numbered and not numbered[2] and read:
        note = one_note(int(numbered[1]))
        return as_json("200 OK", note) if note else error("404 Not Found", "no such note")
    return error("404 Not Found", "no such page")


def application(environ, start_response):
    try:
        status, kind, text = respond(environ)
    except (pymysql.err.MySQLError, OSError) as failure:
        print(f"notes: {environ['REQUEST_METHOD']} {environ['PATH_INFO']}: {failure}", file=sys.stderr, flush=True)
        status, kind, text = error("503 Service Unavailable", "the database does not answer")
    body = text.encode("utf-8")
    headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("X-Content-Type-Options", "nosniff")]
    if status.startswith("303"):
        headers.append(("Location", "/"))
    start_response(status, headers)
    return [body]


def main():
    # As process 1 Python would ignore SIGTERM.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    wait_for_database()
    migrate()
    print(f"notes {VERSION}: listening on port 8000", flush=True)
    waitress.serve(application, listen="*:8000", threads=4, ident=f"notes/{VERSION}")


if __name__ == "__main__":
    main()
