"""Tables of the terminal as the page has them."""

from __future__ import annotations

from sbr.report.page.data import PageTable
from sbr.report.tables import TextTable


def page_table(table: TextTable) -> PageTable:
    return PageTable(table.title, table.header, table.rows, table.note)
