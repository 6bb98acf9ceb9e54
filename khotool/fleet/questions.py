"""Questions that are asked of every fleet, by name."""

from __future__ import annotations

from khotool.records import dataclass

HOST = "coalesce(labels['host'], image)"
"""What stands for a host: the label of that name, else the image itself."""


@dataclass(frozen=True, slots=True)
class Question:
    """A named query.

    Args:
        help: one line.
        sql: over the tables of a scan.
    """

    help: str
    sql: str


QUESTIONS: dict[str, Question] = {
    "refused-by": Question(
        "images that a kernel would not accept, worst outcome first",
        f"""
        SELECT v.kernel, v.outcome, v.stage, v.reason, {HOST.replace("image", "i.image")} AS host,
               v.image
        FROM verdicts v JOIN images i USING (image)
        WHERE v.outcome <> 'accept'
        ORDER BY array_position(['panic', 'hang', 'corrupt', 'ignore', 'partial', 'not-judged'],
                                v.outcome), v.kernel, v.image
        """,
    ),
    "top-rules": Question(
        "rules by the number of images in which they fire",
        """
        SELECT rule, any_value(slug) AS slug, any_value(severity) AS severity,
               count(DISTINCT image) AS images, count(*) AS findings,
               min(image) AS example
        FROM findings GROUP BY rule
        ORDER BY images DESC, findings DESC, rule
        """,
    ),
    "growth": Question(
        "hosts whose handover grows: first and last image of each, by pages gained",
        f"""
        WITH taken AS (
            SELECT {HOST} AS host, taken, preserved_pages AS pages, page_size, image
            FROM images WHERE preserved_pages IS NOT NULL AND taken IS NOT NULL
        )
        SELECT host, count(*) AS images, min(taken) AS first, max(taken) AS last,
               arg_min(pages, taken) AS pages_first, arg_max(pages, taken) AS pages_last,
               arg_max(pages, taken) - arg_min(pages, taken) AS pages_gained,
               arg_max(pages * page_size, taken) - arg_min(pages * page_size, taken)
                   AS bytes_gained
        FROM taken GROUP BY host HAVING count(*) > 1
        ORDER BY pages_gained DESC, host
        """,
    ),
    "leaks": Question(
        "images with preserved pages that have no owner, largest leak first",
        f"""
        SELECT {HOST} AS host, image, unowned_pages, unowned_pages * page_size AS bytes, phase
        FROM images WHERE unowned_pages > 0
        ORDER BY bytes DESC, image
        """,
    ),
    "slow": Question(
        "images that took longest to examine",
        """
        SELECT image, seconds, bytes, preserved_pages, files, error
        FROM images ORDER BY seconds DESC, image LIMIT 50
        """,
    ),
    "versions": Question(
        "kernels and formats in the fleet",
        """
        SELECT release, compatible, machine, page_size, phase, count(*) AS images
        FROM images WHERE error IS NULL
        GROUP BY ALL ORDER BY images DESC, release, compatible
        """,
    ),
    "errors": Question(
        "images that could not be examined, and why",
        "SELECT image, error_kind, error, bytes FROM images WHERE error IS NOT NULL ORDER BY image",
    ),
}
"""By name, in the order of the help."""
