"""Grafana dashboards: one file per board, drawn with the words of panels.py, turned into JSON by render.py."""
