"""Measures what partstream finds against truth: metrics, benchmarks, readers of data sets and reports."""
