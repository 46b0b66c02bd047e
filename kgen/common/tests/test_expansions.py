"""No name in a query is the caller's: what is expanded into one has its names written in code.

Whoever chooses the names of `filter(**…)` chooses joins, and with some of Django's holes SQL.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

# Methods of the ORM that take the names of fields as keywords, or as positional texts.
QUERIES = {
    "Q", "aggregate", "alias", "annotate", "create", "defer", "distinct", "earliest", "exclude",
    "extra", "filter", "get", "get_or_create", "latest", "only", "order_by", "prefetch_related",
    "raw", "select_related", "update", "update_or_create", "values", "values_list",
}  # fmt: skip

# Where something is expanded, and whose names they are.
EXPANDED = {
    ("accounts/clients.py", "create", "{field: value for field, value in settings.items() if value is not None}"): "literals just above",
    ("accounts/sessions.py", "create", "profile"): "fields that POST /session declares",
    ("kgen/common/audit.py", "values", "names"): "columns of the model",
    ("tournaments/admin/series.py", "create", "fields"): "the constant FIELDS",
    ("tournaments/admin/tournaments.py", "order_by", "self.ordering"): "a class attribute",
    ("tournaments/admin/tournaments.py", "update", "changed"): "the form's Meta.fields",
    ("tournaments/models/tournaments.py", "filter", "condition"): "keywords of our own calls",
    ("wallet/admin/corrections.py", "select_related", "wanted"): "literals just above",
    ("wallet/admin/ledger.py", "order_by", "order"): "literals just above",
    ("wallet/admin/wallets.py", "select_related", "wanted"): "literals just above",
    ("wallet/deposits.py", "get_or_create", "key"): "literals of its two callers",
    ("wallet/settlement/payouts.py", "exclude", "said"): "literals just above",
    ("wallet/settlement/payouts.py", "update", "said"): "literals just above",
    ("wallet/solvency.py", "create", "books"): "fields of a dataclass",
}  # fmt: skip


def modules() -> list[Path]:
    return [
        path
        for app in ("kgen/common", "accounts", "wallet", "rewards", "tournaments")
        for path in sorted((ROOT / app).rglob("*.py"))
        if not {"tests", "migrations"} & set(path.parts)
    ]


def expansions(path: Path) -> Iterator[tuple[str, str, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        expanded = [keyword.value for keyword in node.keywords if keyword.arg is None]
        expanded += [argument.value for argument in node.args if isinstance(argument, ast.Starred)]
        if name in QUERIES:
            for value in expanded:
                yield str(path.relative_to(ROOT)), name, ast.unparse(value)


def test_every_expansion_into_a_query_is_known():
    found = {expansion for path in modules() for expansion in expansions(path)}

    assert found - set(EXPANDED) == set()


def test_what_a_request_brought_is_never_expanded():
    """Not into any call, of the ORM or not."""
    brought = {"request", "data", "validated_data", "initial_data", "POST", "GET", "query_params"}
    found = [
        (str(path.relative_to(ROOT)), ast.unparse(node))
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg is None
        for part in ast.walk(keyword.value)
        if (isinstance(part, ast.Attribute) and part.attr in brought)
        or (isinstance(part, ast.Name) and part.id in brought)
    ]

    assert found == []
