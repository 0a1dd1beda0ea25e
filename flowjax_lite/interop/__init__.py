"""Thin adapters to other libraries, each of which is imported where its adapter is used."""

from flowjax_lite.interop.from_distrax import FromDistrax

__all__ = ["FromDistrax"]
