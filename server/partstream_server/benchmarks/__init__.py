"""Benchmarks: time by stage, live streams on one server, and key-frame schedules side by side."""
