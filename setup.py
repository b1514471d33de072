"""The one part that is compiled; where it cannot be, the rest is installed without it."""

from setuptools import Extension, setup

setup(ext_modules=[Extension("etl.express._encode", ["etl/express/_encode.c"], optional=True)])
