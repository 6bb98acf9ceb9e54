"""The numbers of a report: totals and short lists, whose size does not grow with the fleet."""

from __future__ import annotations

from khotool.fleet.query import Answer, connect, execute
from khotool.fleet.questions import HOST, QUESTIONS
from khotool.fleet.store import Store
from khotool.records import dataclass

LISTED = 50
"""Rows of a list in a report."""

TOTALS = """
    SELECT count(*) AS images, count(DISTINCT coalesce(labels['host'], image)) AS hosts,
           count(*) FILTER (error IS NOT NULL) AS unreadable,
           count(*) FILTER (errors > 0) AS with_errors,
           count(*) FILTER (unowned_pages > 0) AS with_leaks,
           sum(preserved_pages * page_size) AS preserved_bytes, sum(sessions) AS sessions,
           sum(files) AS files, min(taken) AS first, max(taken) AS last
    FROM images
"""
REFUSALS = """
    SELECT kernel, outcome, stage, reason, count(*) AS images, min(image) AS example
    FROM verdicts WHERE outcome <> 'accept' GROUP BY ALL ORDER BY images DESC, kernel, reason
"""
VERDICTS = """
    SELECT kernel, outcome, count(*) AS images FROM verdicts GROUP BY ALL ORDER BY kernel, outcome
"""
RULES_BY_DAY = """
    WITH often AS (SELECT rule FROM findings GROUP BY rule
                   ORDER BY count(DISTINCT image) DESC, rule LIMIT 6)
    SELECT date_trunc('day', i.taken) AS day, f.rule, count(DISTINCT f.image) AS images
    FROM findings f JOIN images i USING (image)
    WHERE f.rule IN (FROM often) AND i.taken IS NOT NULL
    GROUP BY ALL ORDER BY day, rule
"""
SIZES = """
    SELECT floor(log2(greatest(preserved_pages * page_size, 1)))::INT AS exponent,
           count(*) AS images
    FROM images WHERE preserved_pages IS NOT NULL GROUP BY exponent ORDER BY exponent
"""
OUTLIERS = f"""
    WITH sized AS (
        SELECT image, {HOST} AS host, preserved_pages * page_size AS bytes, sessions, files
        FROM images WHERE preserved_pages IS NOT NULL
    ), middle AS (
        SELECT median(bytes) AS median,
               quantile_cont(bytes, 0.75) - quantile_cont(bytes, 0.25) AS spread FROM sized
    )
    SELECT host, image, bytes, sessions, files FROM sized, middle
    WHERE spread > 0 AND abs(bytes - median) > 3 * spread ORDER BY abs(bytes - median) DESC, image
"""
OWNERS = """
    SELECT coalesce(handler, '?') AS handler, count(*) AS files, sum(bytes) AS bytes
    FROM files GROUP BY handler ORDER BY bytes DESC, handler
"""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a report shows, each an answer; ``lists`` have at most ``LISTED`` rows."""

    totals: dict[str, object]
    verdicts: Answer
    rules_by_day: Answer
    sizes: Answer
    lists: dict[str, Answer]
    lengths: dict[str, int]


def summarise(store: Store) -> Summary:
    """The numbers of a report on one scan."""
    connection = connect(main=store)
    queries = {
        "refused": REFUSALS,
        "rules": QUESTIONS["top-rules"].sql,
        "leaks": QUESTIONS["leaks"].sql,
        "growth": QUESTIONS["growth"].sql,
        "outliers": OUTLIERS,
        "handlers": OWNERS,
        "versions": QUESTIONS["versions"].sql,
        "errors": QUESTIONS["errors"].sql,
    }
    lists, lengths = {}, {}
    for name, sql in queries.items():
        lists[name] = execute(connection, f"SELECT * FROM ({sql}) LIMIT {LISTED}")
        lengths[name] = int(str(execute(connection, f"SELECT count(*) FROM ({sql})").rows[0][0]))
    totals = execute(connection, TOTALS)
    return Summary(
        dict(zip(totals.columns, totals.rows[0], strict=True)),
        execute(connection, VERDICTS),
        execute(connection, RULES_BY_DAY),
        execute(connection, SIZES),
        lists,
        lengths,
    )
