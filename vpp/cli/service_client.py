"""A running service, asked over HTTP by a command: one address, one token; its problems come back as our errors."""

import ssl
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from models.errors import AccessError, InputError, InputFault, VppError

PATIENCE_S = 300.0
"""Declaring and approving wait for a plan."""


class ServiceClient:
    """Asks ``url`` with ``token``; ``InputError``, ``AccessError`` or ``VppError`` for whatever goes wrong."""

    def __init__(self, url: str, token: str, ca_file: Path | None) -> None:
        if not token or not token.isascii():
            rule = "is needed: give --token or set VPP_TOKEN (vpp user add NAME --role operator makes one)"
            raise InputError([InputFault("command", "token", "", rule)])
        if not url.startswith(("http://", "https://")):
            raise InputError([InputFault("command", "url", url, "must begin with http:// or https://")])
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        try:
            self._trust = ssl.create_default_context(cafile=ca_file)
        except OSError as error:
            rule = f"must be a readable certificate: {error}"
            raise InputError([InputFault("command", "ca-file", str(ca_file), rule)]) from error

    def ask(self, method: str, path: str, *, key: str | None = None, **more: Any) -> Any:
        """The answer to a request below ``/api/v1`` as JSON."""
        return self._asked(method, path, key, **more).json()

    def text(self, method: str, path: str, **more: Any) -> str:
        """The answer as it is written: CSV, HTML, a long JSON document."""
        return self._asked(method, path, None, **more).content.decode("utf-8")

    def _asked(self, method: str, path: str, key: str | None, **more: Any) -> httpx.Response:
        headers = self._headers | ({"Idempotency-Key": key} if key else {})
        try:
            # our own service is asked directly, never through the machine's proxy
            with httpx.Client(verify=self._trust, timeout=PATIENCE_S, trust_env=False) as client:
                response = client.request(method, f"{self._url}/api/v1{path}", headers=headers, **more)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
            raise InputError([InputFault("command", "url", self._url, f"must be an address: {error}")]) from error
        except httpx.HTTPError as error:
            raise VppError(f"服务无应答 no answer from {self._url} ({error}): is `vpp serve` running?") from error
        if response.is_success:
            return response
        raise _error(response)

    @cached_property
    def zone(self) -> ZoneInfo:
        """The market's time zone, as the service says."""
        return ZoneInfo(self.ask("GET", "/about")["time_zone"])

    def local(self, moment: str) -> str:
        """A time of the service as clocks in the market show it, with its offset."""
        return f"{datetime.fromisoformat(moment).astimezone(self.zone):%Y-%m-%d %H:%M:%S%z}".replace(":00+", "+")

    def moment(self, option: str, given: str) -> str:
        """A time given on the command line with an offset, or without one in the market's zone."""
        try:
            found = datetime.fromisoformat(given)
        except ValueError as error:
            rule = "must be ISO 8601, as in 2025-07-16T13:00 (market time) or 2025-07-16T13:00+08:00"
            raise InputError([InputFault("command", option, given, rule)]) from error
        if found.tzinfo is None:
            readings = {found.replace(tzinfo=self.zone, fold=fold).utcoffset() for fold in (0, 1)}
            if len(readings) > 1:
                rule = f"is a clock time that {self.zone.key} has twice or never that day: give the offset too"
                raise InputError([InputFault("command", option, given, rule)])
            found = found.replace(tzinfo=self.zone)
        return found.isoformat()


def _error(response: httpx.Response) -> VppError:
    try:
        facts = response.json()
        detail = str(facts["detail"])
        faults = [InputFault("service", each["field"], each["value"], each["rule"]) for each in facts.get("errors", [])]
    except (ValueError, KeyError, TypeError):
        return VppError(f"the service answered {response.status_code}, and not as ours would: is the address right?")
    match response.status_code:
        case 401:
            return AccessError(f"{detail} (give --token or set VPP_TOKEN)")
        case 403:
            return AccessError(detail)
        case 404:
            return InputError([InputFault("service", "event", response.url.path, f"{detail}: see `vpp event list`")])
        case 422:
            return InputError(faults or [InputFault("service", "request", None, detail)])
        case _:
            return VppError(detail)
