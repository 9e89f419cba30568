"""What Prometheus may know about us: every number of the service, by name, in a registry of its own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FAST_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_SLOW_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Metrics:
    """All metrics as attributes; two services in one process (tests) do not see each other's."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._incoming()
        self._outgoing()
        self._planning()
        self._machinery()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"vpp_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"vpp_{name}", text, labels, registry=self.registry)

    def _seconds(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"vpp_{name}_seconds", text, labels, buckets=buckets, registry=self.registry)

    def _incoming(self) -> None:
        who = "aggregator"
        self.readings_received = self._counter("readings_received", "Readings kept.", who)
        self.readings_refused = self._counter("readings_refused", "Readings that break the contract.", who)
        self.readings_duplicate = self._counter("readings_duplicate", "Readings that were known.", who)
        self.readings_stale = self._counter("readings_stale", "Readings older than their time to live.", who)
        self.registrations_accepted = self._counter("registrations_accepted", "Resources accepted.", who)
        self.registrations_refused = self._counter("registrations_refused", "Resources refused.", who)
        self.dead_letters = self._counter("dead_letters", "Messages set aside.", "place")
        self.devices_online = self._gauge("devices_online", "Devices with a fresh reading.", "kind")
        self.devices_stale = self._gauge("devices_stale", "Devices without a fresh reading.", "kind")
        self.quarantined = self._gauge(
            "devices_quarantined", "Devices that get no orders for now, by reason.", "reason"
        )
        self.promises_at_risk = self._gauge(
            "promises_at_risk", "Promises to owners that the plan in force cannot keep, by limit.", "limit"
        )
        self.aggregators_online = self._gauge("aggregators_online", "Aggregators that say they are online.")

    def _outgoing(self) -> None:
        who = "aggregator"
        self.setpoints_sent = self._counter("setpoints_sent", "Setpoints that left the house.", who)
        self.setpoints_answered = self._counter("setpoints_answered", "Answers by outcome.", who, "outcome")
        self.setpoints_expired = self._counter("setpoints_expired", "Setpoints that nobody answered.", who)
        self.setpoints_withheld = self._counter("setpoints_withheld", "Not sent: read-only mode.", who)
        self.commands_retried = self._counter("commands_retried", "Commands sent again: nobody had answered.", who)
        self.commands_given_up = self._counter(
            "commands_given_up", "Commands that nobody answered, tries used up.", who
        )
        self.setpoint_clamps = self._counter("setpoint_clamps", "Setpoints cut to a device's limits.", "kind")
        self.events = self._gauge("events", "Events by status.", "status")
        self.event_notices_waiting = self._gauge(
            "event_notices_waiting", "Notices of events that the broker has not taken yet."
        )
        self.event_ordered_kw = self._gauge("event_ordered_kw", "Order of a running event.", "event")
        self.event_delivered_kw = self._gauge("event_delivered_kw", "Measured delivery so far.", "event")

    def _planning(self) -> None:
        kind = "kind"
        self.plan_made_at = self._gauge("plan_made_timestamp_seconds", "When the plan in force was made.", kind)
        self.plan_gap = self._gauge("plan_gap_ratio", "Relative gap of the plan in force.", kind)
        self.plan_wall_s = self._gauge("plan_wall_seconds", "How long the plan in force took.", kind)
        self.plans_made = self._counter("plans_made", "Plans by who made them.", kind, "source")
        self.ladder_step = self._gauge(
            "ladder_step", "Step of the plan in force: 0 optimal, 1 incumbent, 2 last good, 3 rule, 4 hold.", kind
        )
        self.ladder_steps = self._counter("ladder_steps", "Plans put in force, by step of the ladder.", kind, "step")
        self.plan_violations = self._counter("plan_violations", "Found by the checker: must stay 0.", kind)
        self.cycle_seconds = self._seconds("cycle", "Duration of a cycle.", _SLOW_S, kind)
        self.clock_steps = self._counter("clock_steps", "Times the clock was set while we slept.", "direction")
        self.step_failures = self._counter("step_failures", "Steps that failed and are tried again.", "step")
        self.cycle_overruns = self._counter("cycle_overruns", "Cycles that took longer than they may.", kind)
        self.capacity_kw = self._gauge(
            "capacity_kw", "Capacity by sort: connected, declared, tested, callable.", "sort", "pillar"
        )

    def _machinery(self) -> None:
        self.broker_connected = self._gauge("broker_connected", "1 while the broker is reached.")
        self.broker_reconnects = self._counter("broker_reconnects", "Times the broker came back.")
        self.store_seconds = self._seconds("store", "Duration of a transaction.", _FAST_S, "operation")
        self.http_requests = self._counter("http_requests", "Requests answered.", "method", "route", "status")
        self.http_seconds = self._seconds("http_request", "Duration of a request.", _FAST_S, "route")
        self.auth_failures = self._counter("auth_failures", "Requests with a wrong token or role.", "reason")
        self.ready = self._gauge("ready", "1 if a part of the service is ready.", "part")

    def observe_store(self, operation: str, seconds: float) -> None:
        """Note a transaction of the store (hand it to ``Store`` as ``observe``)."""
        self.store_seconds.labels(operation=operation).observe(seconds)

    def names(self) -> set[str]:
        """Every sample name that ``text`` may contain."""
        found: set[str] = set()
        for family in self.registry.collect():
            suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
            found.update(f"{family.name}{end}" for end in suffixes.get(family.type, ("",)))
        return found

    def text(self) -> bytes:
        """The exposition that Prometheus scrapes."""
        return generate_latest(self.registry)
