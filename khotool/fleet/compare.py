"""What changed between two scans: images, verdicts, findings, leaks."""

from __future__ import annotations

from khotool.fleet.query import Answer, connect, execute
from khotool.fleet.store import Store
from khotool.records import dataclass

CHANGES: dict[str, str] = {
    "images": """
        SELECT CASE WHEN a.image IS NULL THEN 'added' WHEN b.image IS NULL THEN 'removed'
                    WHEN (a.error IS NULL) <> (b.error IS NULL) THEN 'readable' ELSE 'changed' END
                   AS change,
               coalesce(a.image, b.image) AS image, a.error AS old_error, b.error AS new_error
        FROM a.images a FULL JOIN b.images b ON a.image = b.image
        WHERE a.image IS NULL OR b.image IS NULL OR a.digest IS DISTINCT FROM b.digest
              OR a.error IS DISTINCT FROM b.error
        ORDER BY change, image
    """,
    "verdicts": """
        SELECT coalesce(a.image, b.image) AS image, coalesce(a.kernel, b.kernel) AS kernel,
               a.outcome AS old, b.outcome AS new, b.stage, b.reason
        FROM a.verdicts a FULL JOIN b.verdicts b ON a.image = b.image AND a.kernel = b.kernel
        WHERE a.image IN (SELECT image FROM b.images) AND b.image IN (SELECT image FROM a.images)
              AND a.outcome IS DISTINCT FROM b.outcome
        ORDER BY image, kernel
    """,
    "rules": """
        WITH old AS (SELECT rule, count(DISTINCT image) AS images FROM a.findings GROUP BY rule),
             new AS (SELECT rule, count(DISTINCT image) AS images FROM b.findings GROUP BY rule)
        SELECT coalesce(old.rule, new.rule) AS rule, coalesce(old.images, 0) AS old,
               coalesce(new.images, 0) AS new,
               coalesce(new.images, 0) - coalesce(old.images, 0) AS difference
        FROM old FULL JOIN new ON old.rule = new.rule
        WHERE coalesce(new.images, 0) <> coalesce(old.images, 0)
        ORDER BY abs(difference) DESC, rule
    """,
    "pages": """
        SELECT image, a.preserved_pages AS old_preserved, b.preserved_pages AS new_preserved,
               a.unowned_pages AS old_unowned, b.unowned_pages AS new_unowned
        FROM a.images a JOIN b.images b USING (image)
        WHERE a.preserved_pages IS DISTINCT FROM b.preserved_pages
              OR a.unowned_pages IS DISTINCT FROM b.unowned_pages
        ORDER BY abs(coalesce(b.preserved_pages, 0) - coalesce(a.preserved_pages, 0)) DESC, image
    """,
}
"""What is compared, by name: ``a`` is the older scan, ``b`` the newer one."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Differences by what was compared; an answer without rows where there are none."""

    answers: dict[str, Answer]

    @property
    def equal(self) -> bool:
        """True if nothing differs."""
        return not any(answer.rows for answer in self.answers.values())


def compare(old: Store, new: Store) -> Comparison:
    """Compare two scans, image by image under the names that they have in both."""
    connection = connect(a=old, b=new)
    return Comparison({name: execute(connection, sql) for name, sql in CHANGES.items()})
