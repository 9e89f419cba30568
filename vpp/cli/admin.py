"""``vpp user``, ``vpp aggregator``, ``vpp backup``, ``vpp restore``: they work on the database itself."""

import getpass
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from adapters.mqtt.credentials import check_name, hash_password, new_password, write_private
from adapters.store import Store
from models.errors import InputError, InputFault, VppError
from models.records import AggregatorRecord
from models.roles import Role
from vpp.cli.answers import AsJson, answer, answer_rows
from vpp.clock import SystemClock
from vpp.one_service import alone_in
from vpp.security import new_token
from vpp.settings import Settings, load_settings

user_app = typer.Typer(no_args_is_help=True, help="People and programs that may use the HTTP interface.")
aggregator_app = typer.Typer(no_args_is_help=True, help="Aggregators: MQTT credentials and API tokens.")

Config = Annotated[Path | None, typer.Option(help="Settings, see deploy/example.toml.", envvar="VPP_CONFIG")]
Name = Annotated[str, typer.Argument(help="Its name.")]


@contextmanager
def _opened(settings: Settings) -> Iterator[Store]:
    with Store(settings.store_url) as store:
        store.migrate()
        yield store


def _me() -> str:
    return f"{getpass.getuser()} at the command line"


@user_app.command("add")
def add_user(
    name: Name,
    role: Annotated[Role, typer.Option(help="What the token is for.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make a user and a token; the token is shown once and stored hashed."""
    now = SystemClock().now()
    made = new_token(name, role, now)
    with _opened(load_settings(config)) as store, store.transaction():
        store.add_user(made.user)
        store.append_audit(now, _me(), "user.added", name, {"role": role.value})
    data = {"name": name, "role": role.value, "token": made.token}
    answer(data, as_json, f"{name} ({role.value}), 令牌 token, 仅此一次 shown only now:\n{made.token}")


@user_app.command("list")
def list_users(config: Config = None, as_json: AsJson = False) -> None:
    """All users, revoked ones too."""
    with _opened(load_settings(config)) as store:
        users = store.users()
    rows = [
        {
            "name": user.name,
            "role": user.role.value,
            "created_at": user.created_at.isoformat(),
            "revoked_at": user.revoked_at.isoformat() if user.revoked_at else None,
        }
        for user in users
    ]
    answer_rows(rows, as_json, "nobody yet: vpp user add NAME --role operator")


@user_app.command("revoke")
def revoke_user(name: Name, config: Config = None, as_json: AsJson = False) -> None:
    """Make a user's token worthless, at once."""
    now = SystemClock().now()
    with _opened(load_settings(config)) as store, store.transaction():
        if not store.revoke_user(name, now):
            raise InputError([InputFault("users", "name", name, "is no active user: see `vpp user list`")])
        store.append_audit(now, _me(), "user.revoked", name)
    answer({"name": name, "revoked": True}, as_json, f"{name}: revoked")


@aggregator_app.command("add")
def add_aggregator(
    names: Annotated[list[str], typer.Argument(help="Names: a-z, 0-9 and -, up to 64.")],
    display_name: Annotated[str, typer.Option(help="For people; else the name itself.")] = "",
    credentials: Annotated[
        Path | None, typer.Option(help="Also write name and MQTT password into this JSON file (private).")
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make aggregators with MQTT credentials and an API token each; both are shown once and stored hashed."""
    for name in names:
        check_name(name)
    kept = _kept_credentials(credentials)
    settings = load_settings(config)
    now = SystemClock().now()
    shown: list[dict[str, str]] = []
    with _opened(settings) as store, store.transaction():
        for name in names:
            password = new_password()
            made = new_token(f"aggregator.{name}", Role.AGGREGATOR, now, name)
            store.add_aggregator(AggregatorRecord(name, display_name or name, hash_password(password), created_at=now))
            store.add_user(made.user)
            store.append_audit(now, _me(), "aggregator.added", name)
            topics = f"{settings.mqtt.prefix}/{name}"
            facts = {"aggregator_id": name, "mqtt_username": name, "mqtt_password": password, "api_token": made.token}
            shown.append(facts | {"writes": f"{topics}/up/#", "reads": f"{topics}/down/#"})
        if credentials is not None:
            kept |= {facts["aggregator_id"]: facts["mqtt_password"] for facts in shown}
            _write(credentials, json.dumps(kept, indent=2) + "\n")
    text = "\n".join(
        f"{facts['aggregator_id']}, 仅此一次 shown only now:\n"
        f"  MQTT user name  {facts['mqtt_username']}\n  MQTT password   {facts['mqtt_password']}\n"
        f"  API token       {facts['api_token']}\n"
        f"  may write       {facts['writes']}\n  may read        {facts['reads']}"
        for facts in shown
    )
    answer(shown[0] if len(shown) == 1 else shown, as_json, text)


def _kept_credentials(file: Path | None) -> dict[str, str]:
    if file is None or not file.exists():
        return {}
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        rule = f"must be a JSON object of passwords by aggregator, or not exist yet: {error}"
        raise InputError([InputFault("command line", "--credentials", str(file), rule)]) from error
    if not isinstance(kept, dict):
        rule = "must be a JSON object of passwords by aggregator, or not exist yet"
        raise InputError([InputFault("command line", "--credentials", str(file), rule)])
    return kept


def _write(file: Path, text: str) -> None:
    try:
        write_private(file, text)
    except OSError as error:
        raise VppError(f"cannot write {file}: {error}") from error


@aggregator_app.command("list")
def list_aggregators(config: Config = None, as_json: AsJson = False) -> None:
    """All aggregators with their resources."""
    with _opened(load_settings(config)) as store:
        rows = [
            {
                "aggregator_id": record.aggregator_id,
                "display_name": record.display_name,
                "resources": len(store.resources(record.aggregator_id)),
                "created_at": record.created_at.isoformat(),
            }
            for record in store.aggregators()
        ]
    answer_rows(rows, as_json, "none yet: vpp aggregator add NAME")


@aggregator_app.command("remove")
def remove_aggregator(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Withdraw its resources, release its meters, take its access away; its history stays."""
    if not yes and not typer.confirm(f"Withdraw all resources of {name} and take its access away?"):
        raise VppError("nothing was done")
    now = SystemClock().now()
    with _opened(load_settings(config)) as store, store.transaction():
        if not store.remove_aggregator(name, now):
            rule = "is no aggregator: see `vpp aggregator list`"
            raise InputError([InputFault("aggregators", "aggregator_id", name, rule)])
        store.append_audit(now, _me(), "aggregator.removed", name)
    answer({"aggregator_id": name, "removed": True}, as_json, f"{name}: removed")


@aggregator_app.command("passwords")
def write_passwords(
    file: Annotated[Path, typer.Argument(help="Mosquitto's password_file.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Write the password file of a Mosquitto of your own (hashes only); SIGHUP makes it read the file again."""
    settings = load_settings(config)
    with _opened(settings) as store:
        hashes = {record.aggregator_id: record.secret_hash for record in store.aggregators()}
    mqtt = settings.mqtt
    if mqtt.username is not None and mqtt.password is not None:
        hashes[mqtt.username] = hash_password(mqtt.password.get_secret_value())
    _write(file, "".join(f"{name}:{hashed}\n" for name, hashed in sorted(hashes.items())))
    answer({"file": str(file), "names": sorted(hashes)}, as_json, f"{file}: {len(hashes)} names")


def backup(
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Write the whole state to one file; the service may keep running."""
    if file.exists() and not force:
        raise InputError([InputFault("backup", "file", str(file), "must not exist yet (or use --force)")])
    with Store(load_settings(config).store_url) as store:
        rows = store.backup(file)
    size_mb = file.stat().st_size / 1e6
    data = {"file": str(file), "size_mb": round(size_mb, 3), "rows": rows}
    answer(data, as_json, f"{file}: {sum(rows.values())} rows, {size_mb:.1f} MB")


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `vpp backup` has written.")],
    force: Annotated[bool, typer.Option("--force", help="Replace what the database holds.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Fill the database from a backup; stop the service first. Whatever goes wrong, nothing has changed."""
    settings = load_settings(config)
    with alone_in(settings.service.data_dir), Store(settings.store_url) as store:
        rows = store.restore(file, force=force)
    answer({"file": str(file), "rows": rows}, as_json, f"{sum(rows.values())} rows restored from {file}")
