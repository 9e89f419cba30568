"""``vpp user``, ``vpp aggregator``, ``vpp backup``, ``vpp restore``: they work on the database itself."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from adapters.mqtt.credentials import check_name, hash_password, new_password, write_private
from adapters.store import Store
from models.errors import InputError, InputFault, VppError
from models.records import AggregatorRecord, Role
from vpp.cli.answers import AsJson, answer, answer_rows
from vpp.clock import SystemClock
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
    answer(data, as_json, f"{name} ({role.value}), token, shown only now:\n{made.token}")


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
    name: Name,
    display_name: Annotated[str, typer.Option(help="For people; else the name itself.")] = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make an aggregator with MQTT credentials and an API token; both are shown once and stored hashed."""
    check_name(name)
    settings = load_settings(config)
    now = SystemClock().now()
    password = new_password()
    made = new_token(f"aggregator.{name}", Role.AGGREGATOR, now, name)
    record = AggregatorRecord(name, display_name or name, hash_password(password), created_at=now)
    with _opened(settings) as store, store.transaction():
        store.add_aggregator(record)
        store.add_user(made.user)
        store.append_audit(now, _me(), "aggregator.added", name)
    topics = f"{settings.mqtt.prefix}/{name}"
    data = {"aggregator_id": name, "mqtt_username": name, "mqtt_password": password}
    data |= {"api_token": made.token, "writes": f"{topics}/up/#", "reads": f"{topics}/down/#"}
    text = (
        f"{name}, shown only now:\n"
        f"  MQTT user name  {name}\n  MQTT password   {password}\n  API token       {made.token}\n"
        f"  may write       {topics}/up/#\n  may read        {topics}/down/#"
    )
    answer(data, as_json, text)


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
    try:
        write_private(file, "".join(f"{name}:{hashed}\n" for name, hashed in sorted(hashes.items())))
    except OSError as error:
        raise VppError(f"cannot write {file}: {error}") from error
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
    with Store(load_settings(config).store_url) as store:
        rows = store.restore(file, force=force)
    answer({"file": str(file), "rows": rows}, as_json, f"{sum(rows.values())} rows restored from {file}")
