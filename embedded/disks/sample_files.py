"""The files on the prepared disks: what a small shop's server would hold. The same ones every time."""

import json
import random
from datetime import UTC, date, datetime, timedelta

_CUSTOMERS = ("Arden Supply", "Birch & Sons", "Calder Mills", "Dunmore Foods", "Elm Street Books", "Fenwick Marine")
_ITEMS = ("kettle", "lamp", "ledger", "rope 12 mm", "seed tray", "spanner 13", "tarpaulin", "twine", "valve 3/4")
_PATHS = ("/", "/cart", "/checkout", "/health", "/items/{n}", "/login", "/orders/{n}", "/search?q={w}")
_FIRST_DAY = date(2026, 10, 1)


def sample_files() -> dict[str, bytes]:
    """Path from the root -> content."""
    chance = random.Random(20261001)  # noqa: S311 - the same files every time is the point
    files = {
        "README.txt": _text("Data volume of shop-1. Owner: storefront team. Restore order: conf, data, then logs."),
        "conf/shop.ini": _ini(),
        "conf/nginx/nginx.conf": _nginx(),
        "conf/nginx/mime.types": _text("types {", "    text/html html;", "    application/json json;", "}"),
        "conf/feature-flags.json": _json({"gift_cards": True, "new_checkout": False, "free_delivery_from": 40}),
        "conf/roles.json": _json({"admin": ["*"], "clerk": ["orders:read", "orders:write"], "guest": []}),
        "data/customers.csv": _customers(),
        "data/items.csv": _items(chance),
        "notes/2026-10-12 stock count.md": _text(
            "# Stock count", "", "- twine short by 4", "- lamps: recount on Monday"
        ),
        "notes/on-call.md": _text("# On call", "", "1. Look at /health", "2. Free space on /data", "3. Call Ines"),
        "notes/restore rehearsal.md": _text("# Rehearsal", "", "Restored in 11 minutes; orders of the day complete."),
    }
    for week in range(4):
        day = _FIRST_DAY + timedelta(days=7 * week)
        files[f"data/orders/{day:%Y/%m}/orders-{day:%Y-%m-%d}.csv"] = _orders(chance, day, 80)
    for offset in range(12):
        day = _FIRST_DAY + timedelta(days=offset)
        files[f"logs/access/access-{day:%Y-%m-%d}.log"] = _access_log(chance, day, 60)
    for number in range(1, 9):
        files[f"data/invoices/invoice-{4100 + number}.json"] = _invoice(chance, 4100 + number)
    for number in range(1, 6):
        files[f"srv/migrations/{number:04}_{_ITEMS[number].split()[0]}.sql"] = _migration(number)
    files["data/empty-on-purpose.lock"] = b""
    return files


def _text(*lines: str) -> bytes:
    return ("\n".join(lines) + "\n").encode()


def _json(content: object) -> bytes:
    return _text(json.dumps(content, indent=2))


def _ini() -> bytes:
    return _text("[database]", "host = 10.0.3.14", "name = shop", "", "[mail]", "from = orders@shop.example")


def _nginx() -> bytes:
    return _text(
        "worker_processes auto;",
        "events { worker_connections 512; }",
        "http {",
        "    include mime.types;",
        "    server {",
        "        listen 8080;",
        "        location / { proxy_pass http://127.0.0.1:9000; }",
        "    }",
        "}",
    )


def _customers() -> bytes:
    rows = [f"{number},{name},{2019 + number % 6}" for number, name in enumerate(_CUSTOMERS, start=1)]
    return _text("id,name,since", *rows)


def _items(chance: random.Random) -> bytes:
    rows = [f"{n},{item},{chance.randint(100, 9900) / 100:.2f}" for n, item in enumerate(_ITEMS, start=1)]
    return _text("id,name,price", *rows)


def _orders(chance: random.Random, day: date, count: int) -> bytes:
    rows = [
        f"{day:%m%d}{n:04},{chance.choice(_CUSTOMERS)},{chance.choice(_ITEMS)},{chance.randint(1, 40)}"
        for n in range(count)
    ]
    return _text("order,customer,item,pieces", *rows)


def _access_log(chance: random.Random, day: date, count: int) -> bytes:
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
    lines = []
    for _ in range(count):
        moment += timedelta(seconds=chance.randint(1, 1400))
        path = chance.choice(_PATHS).format(n=chance.randint(1, 900), w=chance.choice(_ITEMS).split()[0])
        status = chance.choices((200, 304, 404, 500), (90, 6, 3, 1))[0]
        address = f"10.0.{chance.randint(0, 7)}.{chance.randint(2, 250)}"
        lines.append(f'{address} - - [{moment:%d/%b/%Y:%H:%M:%S %z}] "GET {path}" {status} {chance.randint(180, 9000)}')
    return _text(*lines)


def _invoice(chance: random.Random, number: int) -> bytes:
    lines = [{"item": item, "pieces": chance.randint(1, 9)} for item in chance.sample(_ITEMS, 3)]
    return _json({"invoice": number, "customer": chance.choice(_CUSTOMERS), "lines": lines, "paid": bool(number % 3)})


def _migration(number: int) -> bytes:
    return _text(f"-- {number:04}", "BEGIN;", f"ALTER TABLE orders ADD COLUMN step_{number} text;", "COMMIT;")
