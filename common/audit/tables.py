"""The tables of the audit log."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, Text

tables = MetaData()
decisions = Table(
    "decisions",
    tables,
    Column("id", String(24), primary_key=True),
    Column("time", Float, nullable=False, index=True),  # seconds since 1970, UTC
    Column("system", String(200), nullable=False),
    Column("version", String(200), nullable=False),
    Column("role", String(20), nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("caller", String(200), nullable=False),
    Column("subject", String(64), index=True),
    Column("pair", String(24), index=True),  # of a shadow: the decision it shadows
    Column("simulated", Boolean, nullable=False),
    Column("ms", Float, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("inputs", LargeBinary, nullable=False),
    Column("answers", LargeBinary, nullable=False),
    Index("ix_decisions_model", "system", "version", "time"),
)
labels = Table(
    "labels",
    tables,
    Column("decision", String(24), primary_key=True),
    Column("row", Integer, primary_key=True),
    Column("label", Text, nullable=False),  # JSON
    Column("time", Float, nullable=False),
    Column("caller", String(200), nullable=False),
)
