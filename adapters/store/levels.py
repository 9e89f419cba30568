"""The level of weather-driven loads on a market day: what it follows from, and from when on which factor held."""

import json
from datetime import date

from sqlalchemy import select

from adapters.store import schema
from adapters.store.connection import Part
from models.records import LevelStep
from models.settlement.level import LevelLine


class Levels(Part):
    """Lines by market day, and the steps that were made from them."""

    def save_level_line(self, market_day: date, line: LevelLine) -> None:
        """Keep the line of a day's baseline table; a table that is made anew brings its own."""
        table = schema.level_lines
        facts = {"energy_kwh": line.energy_kwh, "city_kw": line.city_kw, "used_kwh": line.used_kwh}
        body = json.dumps({**facts, "city_ahead_kw": line.city_ahead_kw})
        insert = self._db.insert(table).values(market_day=market_day.isoformat(), line=body)
        with self._db.writing() as connection:
            connection.execute(insert.on_conflict_do_update(index_elements=["market_day"], set_={"line": body}))

    def level_line(self, market_day: date) -> LevelLine | None:
        """The line of a day, None if it has none."""
        table = schema.level_lines
        query = select(table.c.line).where(table.c.market_day == market_day.isoformat())
        with self._db.reading() as connection:
            body = connection.execute(query).scalar_one_or_none()
        if body is None:
            return None
        facts = json.loads(body)
        return LevelLine(tuple(facts["energy_kwh"]), tuple(facts["city_kw"]), facts["used_kwh"], facts["city_ahead_kw"])

    def save_level(self, market_day: date, level: LevelStep) -> None:
        """Keep a step; one of the same moment stays as it is: what was judged by it is judged by it again."""
        table = schema.levels
        values = {
            "market_day": market_day.isoformat(),
            "valid_from": level.valid_from,
            "factor": level.factor,
            "city_kw": level.city_kw,
        }
        with self._db.writing() as connection:
            connection.execute(self._db.insert(table).values(values).on_conflict_do_nothing())

    def levels(self, market_day: date) -> list[LevelStep]:
        """All steps of a day, oldest first."""
        table = schema.levels
        query = select(table).where(table.c.market_day == market_day.isoformat()).order_by(table.c.valid_from)
        with self._db.reading() as connection:
            rows = connection.execute(query).all()
        return [LevelStep(row.valid_from, row.factor, row.city_kw) for row in rows]
