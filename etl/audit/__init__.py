"""The nightly audit: rows that were not validated on ingestion.

Checks on each store, totals across them, findings that are kept.

checks.py        SQL files of sql/checks/<store>, each returns the offending rows; none = pass
expectations.py  Great Expectations on TimescaleDB
data_docs.py     their pages: a day each, and an index
totals.py        counts and sums of the three stores, by venue, symbol and day
findings.py      audit_findings: kept from night to night, suppressed by rule
nightly.py       one day, all of it
"""
