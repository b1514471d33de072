"""The sessions of markets as data: a file for each calendar, and corrections beside it where the library is wrong.

``NAME.json`` is made by ``etl sessions make NAME``; ``NAME_corrections.json`` is written by hand, with its sources.
What they mean stands in ``etl/adapter/market_calendar.py``.
"""
