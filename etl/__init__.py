"""Market data from exchanges into queryable stores, continuously and without silent loss."""

__version__ = "0.1.0"
